# mice::md.pattern of the incomplete hsb data -> tests/reference/impute/hsb_md_pattern.csv
# Run in tests/reference: Rscript scripts/impute_patterns.R
h <- read.csv(gzfile("visible/hsb_vignette.csv.gz"))
h <- h[h$.imp == 0, !(names(h) %in% c(".imp", ".id"))]
p <- mice::md.pattern(h, plot = FALSE)
rows <- rownames(p)
keep <- rows != ""
out <- data.frame(p[keep, -ncol(p)], n_rows = as.integer(rows[keep]), n_missing = p[keep, ncol(p)], check.names = FALSE)
write.csv(out, "impute/hsb_md_pattern.csv", row.names = FALSE)
