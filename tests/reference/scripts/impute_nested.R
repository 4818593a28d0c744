# Posterior of the joint imputation model of three levels, by JAGS: tests/reference/impute/joint_nested.json.
# Run from tests/reference: Rscript scripts/impute_nested.R
# Data: impute/joint_nested.csv, simulated, 25 schools, 100 classes (numbered within schools), 400 pupils; y and x of
# pupils, w of classes, t of schools, each with missing cells, z complete; all columns are standardised at their level.
# Priors: flat coefficients (normal with precision 1e-6), inverse Wishart covariances with identity scale and df equal
# to the dimension. JAGS takes no partly observed multivariate node: cells are normal around it with SD 0.001.
suppressMessages({library(rjags); library(coda); library(jsonlite)})
d <- read.csv("impute/joint_nested.csv")
d$class <- as.integer(factor(paste(d$school, d$cls), levels = unique(paste(d$school, d$cls))))
d$school <- d$school + 1
first <- !duplicated(d$class)
top <- !duplicated(d$school)
parent <- d$school[first]

levels <- "model {
  for (i in 1:N) {
    for (k in 1:2) {
      mu[i, k] <- bw[class[i], k] + B[k] * z[i]
      obs[i, k] ~ dnorm(yx[i, k], 1.0E6)
    }
    yx[i, 1:2] ~ dmnorm(mu[i, ], P1)
  }
  for (j in 1:J) {
    bw[j, 1:3] ~ dmnorm(act[parent[j], 1:3], P2)
    w[j] ~ dnorm(bw[j, 3], 1.0E6)
  }
  for (k in 1:K) {
    act[k, 1:4] ~ dmnorm(M, P3)
    t[k] ~ dnorm(act[k, 4], 1.0E6)
  }
  for (k in 1:2) { B[k] ~ dnorm(0, 1.0E-6) }
  for (k in 1:4) { M[k] ~ dnorm(0, 1.0E-6) }
  P1 ~ dwish(I2, 2)
  P2 ~ dwish(I3, 3)
  P3 ~ dwish(I4, 4)
  S1 <- inverse(P1)
  S2 <- inverse(P2)
  S3 <- inverse(P3)
}"

# y ~ z + (1 + z | school) + (1 | class)
slopes <- "model {
  for (i in 1:N) { y[i] ~ dnorm(b[class[i]] + a[school[i], 2] * z[i], P1) }
  for (j in 1:J) { b[j] ~ dnorm(a[parent[j], 1], P2) }
  for (k in 1:K) { a[k, 1:2] ~ dmnorm(M, P3) }
  for (k in 1:2) { M[k] ~ dnorm(0, 1.0E-6) }
  P1 ~ dgamma(0.5, 0.5)
  P2 ~ dgamma(0.5, 0.5)
  P3 ~ dwish(I2, 2)
  S1 <- 1 / P1
  S2 <- 1 / P2
  S3 <- inverse(P3)
}"

lower <- function(name, size) {
  out <- c()
  for (i in 1:size) for (j in 1:i) out <- c(out, sprintf("%s[%d,%d]", name, i, j))
  out
}

sampled <- function(text, data, monitors, columns, burn, iter, thin) {
  inits <- lapply(1:4, function(k) list(.RNG.name = "base::Mersenne-Twister", .RNG.seed = k))
  model <- jags.model(textConnection(text), data, inits = inits, n.chains = 4, n.adapt = 1000, quiet = TRUE)
  update(model, burn, progress.bar = "none")
  draws <- coda.samples(model, monitors, iter, thin, progress.bar = "none")[, columns]
  all <- as.matrix(draws)
  sds <- apply(all, 2, sd)
  list(mean = unname(colMeans(all)), sd = unname(sds), mcse = unname(sds / sqrt(effectiveSize(draws))),
       rhat = max(gelman.diag(draws, multivariate = FALSE)$psrf[, 1]))
}

base <- list(N = nrow(d), J = max(d$class), K = max(d$school), class = d$class, parent = parent, z = d$z)
I <- function(k) diag(k)
iter <- as.integer(Sys.getenv("ITER", "20000"))
out <- list(
  versions = list(R = R.version.string, rjags = as.character(packageVersion("rjags")),
                  JAGS = as.character(jags.version())),
  levels = sampled(levels,
    c(base, list(obs = as.matrix(d[, c("y", "x")]), w = d$w[first], t = d$t[top], I2 = I(2), I3 = I(3), I4 = I(4))),
    c("B", "M", "S1", "S2", "S3"),
    c("M[1]", "B[1]", "M[2]", "B[2]", "M[3]", lower("S1", 2), lower("S2", 3), "M[4]", lower("S3", 4)),
    5000, iter, 5),
  slopes = sampled(slopes, c(base, list(y = d$y, school = d$school, I2 = I(2))), c("M", "S1", "S2", "S3"),
    c("M[1]", "M[2]", "S1", "S2", lower("S3", 2)), 5000, iter, 5))
write_json(out, "impute/joint_nested.json", digits = 17, auto_unbox = TRUE, pretty = TRUE)
