"""Imputations that other programs made, read into ImputedData, and written for them."""

from .read import read_imputations as read_imputations
from .write import write_imputations as write_imputations
