# Pooled estimates after mice's chained two-level conditionals (2l.pan, cluster means of the other variable recomputed
# in each cycle) of the data sets of impute_pan_sets.R: impute/pan_sets.csv -> impute/mice_sets.json
# Run in tests/reference: Rscript scripts/impute_mice_sets.R   (about 3 minutes)
suppressMessages({library(mice); library(pan); library(lme4)})
sets <- read.csv("impute/pan_sets.csv")
fit <- function(d) {
  f <- suppressMessages(lmer(y ~ x + w + (1 | g), d))
  v <- c(as.data.frame(VarCorr(f))$vcov)
  c(x = fixef(f)[["x"]], w = fixef(f)[["w"]], between = v[1], residual = v[2], icc = v[1] / sum(v))
}
rows <- lapply(split(sets, sets$set), function(a) {
  a <- a[, c("g", "w", "y", "x")]
  where <- matrix(0, 4, 4, dimnames = list(names(a), names(a)))
  where["y", ] <- c(-2, 1, 0, 3); where["x", ] <- c(-2, 1, 3, 0)  # 3: the variable and its cluster mean
  imp <- suppressWarnings(mice(a, m = 10, maxit = 5, method = c("", "", "2l.pan", "2l.pan"), predictorMatrix = where,
                               paniter = 200, seed = 700 + nrow(a), printFlag = FALSE))
  e <- t(sapply(seq_len(10), function(k) fit(complete(imp, k))))
  list(mean = as.list(colMeans(e)), var = as.list(apply(e, 2, var)))
})
writeLines(jsonlite::toJSON(unname(rows), digits = 8, auto_unbox = TRUE), "impute/mice_sets.json")
