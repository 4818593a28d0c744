"""Write the tables of remlax.datasets from the reference files: python build.py  (in this folder; after hsb.R).

hsb.csv.gz                  the complete data
hsb_imputed_cells.csv.gz    one line per cell that is missing in the vignette's original: variable, row (from 0),
                            the five imputed values
sleepstudy.csv.gz, dyestuff.csv.gz
All numbers are copied as text: no number is parsed or rounded on the way.
"""

import csv
import gzip
from pathlib import Path

HERE = Path(__file__).resolve().parent
VISIBLE = HERE.parent / "visible"
TARGET = HERE.parents[2] / "src" / "remlax" / "data" / "datasets"
K = 5


def read(path):
    with gzip.open(path, "rt", newline="") as text:
        rows = list(csv.reader(text))
    return rows[0], rows[1:]


def write(name, header, rows):
    text = "\n".join(",".join(row) for row in [header, *rows]) + "\n"
    (TARGET / name).write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def main():
    header, complete = read(HERE / "hsb.csv.gz")
    long_header, long = read(VISIBLE / "hsb_vignette.csv.gz")
    assert long_header == [".imp", ".id", *header]
    original, *imputed = ([row[2:] for row in long if row[0] == str(imp)] for imp in range(K + 1))
    cells = []
    for variable, name in enumerate(header):
        for row, values in enumerate(original):
            if values[variable] == "":
                cells.append([name, str(row), *(frame[row][variable] for frame in imputed)])
            else:
                assert all(frame[row][variable] == values[variable] for frame in [complete, *imputed])
    write("hsb.csv.gz", header, complete)
    write("hsb_imputed_cells.csv.gz", ["variable", "row", *(str(imp) for imp in range(1, K + 1))], cells)
    for name in ("sleepstudy", "dyestuff"):
        write(f"{name}.csv.gz", *read(VISIBLE / f"{name}.csv.gz"))


if __name__ == "__main__":
    main()
