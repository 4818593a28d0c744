# Posterior means and SDs of multilevel joint models, by long runs of pan and jomo
# -> impute/joint_pan.csv, impute/joint_mixed.csv (data), impute/joint_posterior.json
# Run in tests/reference: Rscript scripts/impute_joint.R   (about 4 minutes)
suppressMessages({library(pan); library(jomo)})
zscore <- function(x) (x - mean(x, na.rm = TRUE)) / sd(x, na.rm = TRUE)
results <- list()

# draws: iterations x parameters. The Monte Carlo error is that of 25 batch means.
keep <- function(name, part, draws, burn) {
  draws <- matrix(draws, nrow = nrow(draws))[-seq_len(burn), , drop = FALSE]
  batch <- rep(1:25, each = floor(nrow(draws) / 25))
  means <- rowsum(draws[seq_along(batch), , drop = FALSE], batch) / (length(batch) / 25)
  results[[name]][[part]] <<- list(mean = colMeans(draws), sd = apply(draws, 2, sd), mcse = apply(means, 2, sd) / 5)
}
# array (rows, columns, iterations) -> iterations x (rows * columns), column-major as in R
flat <- function(a) t(matrix(a, ncol = dim(a)[3]))

# pan: two targets, random intercept and slope; columns standardised, so that the identity is the default prior
set.seed(2026)
J <- 50; n <- 8; g <- rep(seq_len(J), each = n); N <- J * n
w <- rnorm(J)[g]; x <- rnorm(N)
u <- matrix(rnorm(J * 4), J) %*% chol(matrix(c(.5, .1, .2, 0, .1, .2, 0, .05, .2, 0, .4, .1, 0, .05, .1, .2), 4))
e <- matrix(rnorm(N * 2), N) %*% chol(matrix(c(1, .5, .5, 1), 2))
y1 <- .5 * x + .6 * w + u[g, 1] + u[g, 2] * x + e[, 1]
y2 <- -.3 * x + .3 * w + u[g, 3] + u[g, 4] * x + e[, 2]
y1[runif(N) < plogis(-1 + x)] <- NA; y2[runif(N) < .2] <- NA
a <- data.frame(g, x = zscore(x), w = zscore(w), y1 = zscore(y1), y2 = zscore(y2))
a[] <- lapply(a, signif, 10)
write.csv(a, "impute/joint_pan.csv", row.names = FALSE, na = "")
fit <- pan(as.matrix(a[, c("y1", "y2")]), a$g, cbind(1, a$x, a$w), 1:3, 1:2,
           list(a = 2, Binv = diag(2), c = 4, Dinv = diag(4)), seed = 11, iter = 200000)
for (part in c("beta", "sigma", "psi")) keep("pan", part, flat(fit[[part]]), 3000)

# jomo: y, x continuous, b binary, k of three categories, s of the clusters
set.seed(2027)
J <- 60; n <- 8; g <- rep(seq_len(J), each = n); N <- J * n
u <- matrix(rnorm(J * 5), J) %*% chol(.3 * diag(5) + .2)
e <- matrix(rnorm(N * 4), N) %*% chol(.6 * diag(4) + .4)
s <- u[, 5] + .2
y <- 1 + u[g, 1] + e[, 1]; x <- u[g, 2] + e[, 2]
b <- 1L * (u[g, 3] + e[, 3] > .3); k <- 1L + (u[g, 4] + e[, 4] > -.3) + (u[g, 4] + e[, 4] > .8)
y[runif(N) < .25] <- NA; x[runif(N) < .2] <- NA; b[runif(N) < .2] <- NA; k[runif(N) < .2] <- NA
s[runif(J) < .25] <- NA
d <- data.frame(g, y = zscore(y), x = zscore(x), b, k, s = zscore(s)[g])
d[] <- lapply(d, signif, 10)
write.csv(d, "impute/joint_mixed.csv", row.names = FALSE, na = "")
clus <- data.frame(g = d$g)
run <- function(f, ...) { r <- NULL; capture.output(r <- f(..., output = 0)); r }

m <- run(jomo2com.MCMCchain, Y.con = d[, c("y", "x")], Y2.con = d[, "s", drop = FALSE], clus = clus, nburn = 60000)
keep("levels", "beta", flat(m$collectbeta), 1000); keep("levels", "beta2", flat(m$collect.l2.beta), 1000)
keep("levels", "sigma", flat(m$collectomega), 1000); keep("levels", "psi", flat(m$collectcovu), 1000)

m <- run(jomo1ranmix.MCMCchain, Y.con = d[, "y", drop = FALSE], Y.cat = data.frame(b = factor(d$b)), Y.numcat = 2,
         clus = clus, nburn = 60000)
keep("binary", "beta", flat(m$collectbeta), 1000); keep("binary", "sigma", flat(m$collectomega), 1000)
keep("binary", "psi", flat(m$collectcovu), 1000)

m <- run(jomo1ranmix.MCMCchain, Y.con = d[, "y", drop = FALSE], Y.cat = data.frame(k = factor(d$k)), Y.numcat = 3,
         clus = clus, nburn = 60000)
keep("nominal", "beta", flat(m$collectbeta), 1000); keep("nominal", "sigma", flat(m$collectomega), 1000)
keep("nominal", "psi", flat(m$collectcovu), 1000)

m <- run(jomo1ranconhr.MCMCchain, Y = d[, c("y", "x")], clus = clus, nburn = 40000, meth = "random")
keep("specific", "beta", flat(m$collectbeta), 1000); keep("specific", "psi", flat(m$collectcovu), 1000)
# the residual covariances of the clusters are stacked: their average over the clusters
om <- m$collectomega; rows <- dim(om)[1]
avg <- apply(om, 3, function(o) c(mean(o[seq(1, rows, 2), 1]), mean(o[seq(2, rows, 2), 1]), mean(o[seq(2, rows, 2), 2])))
keep("specific", "mean_sigma", t(avg), 1000)
if (!is.null(m$collecta)) results$specific$a <- mean(m$collecta)

writeLines(jsonlite::toJSON(results, digits = 10, auto_unbox = TRUE), "impute/joint_posterior.json")
