# Posterior of a mixed model with an interaction and a random slope of an incomplete covariate, by a long run of jomo.lmer
# -> impute/joint_compatible.csv (data), impute/joint_compatible.json
# Run in tests/reference: Rscript scripts/impute_compatible.R [sweeps]   (about 2 minutes for 60000)
suppressMessages(library(jomo))
sweeps <- c(as.integer(commandArgs(TRUE)), 60000)[1]
burn <- sweeps %/% 15
zscore <- function(x) (x - mean(x, na.rm = TRUE)) / sd(x, na.rm = TRUE)

set.seed(2028)
J <- 60; n <- 8; g <- rep(seq_len(J), each = n); N <- J * n
v <- matrix(rnorm(J * 2), J) %*% chol(.3 * matrix(c(1, .4, .4, 1), 2))
r <- matrix(rnorm(N * 2), N) %*% chol(.7 * matrix(c(1, .4, .4, 1), 2))
x <- v[g, 1] + r[, 1]; z <- v[g, 2] + r[, 2]
b <- matrix(rnorm(J * 2), J) %*% chol(matrix(c(.5, .15, .15, .4), 2))
y <- .5 * x + .3 * z + .4 * x * z + b[g, 1] + b[g, 2] * x + rnorm(N)
# standardised, so that identity scales mean the same in both programs; more is missing where the outcome is large
y <- zscore(y); z <- zscore(z)
x[runif(N) < plogis(-1 + .8 * y)] <- NA
d <- data.frame(g, y, x = zscore(x), z)
d[] <- lapply(d, signif, 10)
write.csv(d, "impute/joint_compatible.csv", row.names = FALSE, na = "")

m <- NULL
invisible(capture.output(m <- jomo.lmer.MCMCchain(y ~ x * z + (1 + x | g), d, nburn = sweeps, output = 0)))

# draws: iterations x parameters. The Monte Carlo error is that of 25 batch means.
keep <- function(draws) {
  draws <- draws[-seq_len(burn), , drop = FALSE]
  batch <- rep(1:25, each = floor(nrow(draws) / 25))
  means <- rowsum(draws[seq_along(batch), , drop = FALSE], batch) / (length(batch) / 25)
  list(mean = colMeans(draws), sd = apply(draws, 2, sd), mcse = apply(means, 2, sd) / 5)
}
flat <- function(a) t(matrix(a, ncol = dim(a)[3]))
results <- list(fixed = keep(flat(m$collectbetaY)), residual = keep(matrix(m$collectvarY)),
                random = keep(flat(m$collectcovuY)), covariates = keep(flat(m$collectbeta)),
                covariates_residual = keep(flat(m$collectomega)), covariates_random = keep(flat(m$collectcovu)))
writeLines(jsonlite::toJSON(results, digits = 10), "impute/joint_compatible.json")
