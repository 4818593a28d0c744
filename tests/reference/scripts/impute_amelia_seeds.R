# The vignette's model fitted to m = 5 of Amelia's imputations of hsb and pooled, for 200 seeds
# -> impute/amelia_hsb_seeds.json
# Run in tests/reference: Rscript scripts/impute_amelia_seeds.R   (about 5 minutes)
suppressMessages({library(Amelia); library(lme4)})
hsb <- read.csv(gzfile("visible/hsb_vignette.csv.gz"))
hsb <- hsb[hsb$.imp == 0, !(names(hsb) %in% c(".imp", ".id"))]
m <- 5
pooled <- function(seed) {
  set.seed(seed)
  a <- amelia(hsb, m = m, idvars = c("schid", "meanses"), noms = c("minority", "female"), p2s = 0)
  fits <- lapply(a$imputations, function(d) lmer(mathach ~ minority + female + ses + meanses + (1 | schid), d))
  q <- sapply(fits, fixef)
  u <- sapply(fits, function(f) diag(as.matrix(vcov(f))))
  b <- apply(q, 1, var)
  total <- rowMeans(u) + (1 + 1 / m) * b
  school <- mean(sapply(fits, function(f) attr(VarCorr(f)$schid, "stddev")[[1]]))
  c(rowMeans(q), se = sqrt(total), lambda = (1 + 1 / m) * b / total, sd_school = school, sigma = mean(sapply(fits, sigma)))
}
est <- t(sapply(1:200, pooled))
out <- list(seeds = 200, m = m, names = colnames(est), mean = unname(colMeans(est)), sd = unname(apply(est, 2, sd)))
writeLines(jsonlite::toJSON(out, digits = NA, auto_unbox = TRUE), "impute/amelia_hsb_seeds.json")
