# The vignette's model fitted to 200 of Amelia's imputations of hsb -> impute/amelia_hsb_lmer.json
# Run in tests/reference: Rscript scripts/impute_amelia_pooled.R   (about 3 minutes)
suppressMessages({library(Amelia); library(lme4)})
hsb <- read.csv(gzfile("visible/hsb_vignette.csv.gz"))
hsb <- hsb[hsb$.imp == 0, !(names(hsb) %in% c(".imp", ".id"))]
set.seed(20)
a <- amelia(hsb, m = 200, idvars = c("schid", "meanses"), noms = c("minority", "female"), p2s = 0)
one <- function(d) {
  f <- lmer(mathach ~ minority + female + ses + meanses + (1 | schid), d)
  c(fixef(f), se = sqrt(diag(as.matrix(vcov(f)))), sd_school = attr(VarCorr(f)$schid, "stddev")[[1]], sigma = sigma(f))
}
est <- t(sapply(a$imputations, one))
out <- list(m = 200, names = colnames(est), mean = unname(colMeans(est)), sd = unname(apply(est, 2, sd)))
writeLines(jsonlite::toJSON(out, digits = NA, auto_unbox = TRUE), "impute/amelia_hsb_lmer.json")
