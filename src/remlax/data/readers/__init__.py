"""Imputations that other programs made, read into ImputedData, and written for them."""

from .read import read_imputations as read_imputations
from .spss import read_spss as read_spss
from .write import write_imputations as write_imputations
