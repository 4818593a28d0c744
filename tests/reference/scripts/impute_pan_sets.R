# Pooled estimates after pan, data set by data set -> impute/pan_sets.csv (data), impute/pan_sets.json
# 40 two-level data sets with cells of y and x missing at random; 20 imputations of each, every 100 sweeps.
# Run in tests/reference: Rscript scripts/impute_pan_sets.R   (about 2 minutes)
suppressMessages({library(pan); library(lme4)})
zscore <- function(x) (x - mean(x, na.rm = TRUE)) / sd(x, na.rm = TRUE)
set.seed(626)
SETS <- 40; J <- 20; n <- 8; N <- J * n; M <- 20; BURN <- 500; EVERY <- 100
g <- rep(seq_len(J), each = n)
sets <- list(); rows <- list()
for (r in seq_len(SETS)) {
  w <- rnorm(J)[g]
  x <- .3 * w + rnorm(J, sd = .6)[g] + rnorm(N)
  y <- .5 * x + .4 * w + rnorm(J, sd = .8)[g] + rnorm(N)
  a <- data.frame(set = r, g, w = round(w, 4), y = round(y, 4), x = round(x, 4))
  # y where w is large, x where the observed y is large
  a$y[runif(N) < plogis(-1 + w)] <- NA
  a$x[runif(N) < ifelse(is.na(a$y), .2, plogis(-1 + .7 * y))] <- NA
  # standardised, so that the identity is the default prior; the w of the clusters and pan's order of rows stay
  a$y <- round(zscore(a$y), 4); a$x <- round(zscore(a$x), 4)
  sets[[r]] <- a
  fit <- function(d) {
    f <- suppressMessages(lmer(y ~ x + w + (1 | g), d))
    v <- c(as.data.frame(VarCorr(f))$vcov)
    c(x = fixef(f)[["x"]], w = fixef(f)[["w"]], between = v[1], residual = v[2], icc = v[1] / sum(v))
  }
  state <- NULL; estimates <- NULL
  for (k in seq_len(M)) {
    given <- list(as.matrix(a[, c("y", "x")]), a$g, cbind(1, a$w), 1:2, 1,
                  list(a = 2, Binv = diag(2), c = 2, Dinv = diag(2)), seed = 1000 * r + k,
                  iter = if (k == 1) BURN else EVERY)
    state <- do.call(pan, c(given, if (k > 1) list(start = state$last)))
    estimates <- rbind(estimates, fit(transform(a, y = state$y[, 1], x = state$y[, 2])))
  }
  rows[[r]] <- list(mean = as.list(colMeans(estimates)), var = as.list(apply(estimates, 2, var)))
}
write.csv(do.call(rbind, sets), "impute/pan_sets.csv", row.names = FALSE, na = "")
writeLines(jsonlite::toJSON(rows, digits = 8, auto_unbox = TRUE), "impute/pan_sets.json")
