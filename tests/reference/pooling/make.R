# Numbers of mitml, mice and base R for tests/pooling: Rscript make.R > /dev/null
# Writes pooling.json beside itself. Inputs are deterministic; every number has 15 significant digits.
suppressPackageStartupMessages({library(mitml); library(mice); library(jsonlite)})
grid <- function(n, a) { x <- sin(a * seq_len(n)); x - mean(x) }            # a repeatable stand-in for noise
case <- function(m, p, between, within, a) {
  q <- outer(seq_len(p) - 1.7, rep(1, m)) + between * matrix(grid(m * p, a), p, m)
  base <- matrix(grid(p * p, a + .3), p, p); base <- crossprod(base) + diag(p) * .5
  u <- array(0, c(p, p, m)); for (k in seq_len(m)) u[, , k] <- within * base * (1 + .1 * cos(k))
  list(q = q, u = u)
}
rubin <- list()
settings <- list(two = c(2, 2, .3, 1, 1.1), ten = c(10, 4, .5, 1, 2.3), nearly_all_between = c(4, 2, 1, 1e-10, 1.9),
                 tiny_between = c(6, 3, 1e-4, 1, 2.9), no_between = c(3, 2, 0, 1, 1.3))
for (name in names(settings)) {
  s <- settings[[name]]; d <- case(s[1], s[2], s[3], s[4], s[5])
  rownames(d$q) <- paste0("x", seq_len(s[2]))
  out <- list(estimates = t(d$q), covariances = aperm(d$u, c(3, 1, 2)), pooled = list(), tests = list())
  for (dfcom in c(Inf, 200, 30, 5)) {
    e <- testEstimates(qhat = d$q, uhat = d$u, df.com = if (is.finite(dfcom)) dfcom)$estimates
    pm <- lapply(seq_len(s[2]), function(j) pool.scalar(d$q[j, ], d$u[j, j, ], n = dfcom + 1, k = 1))
    out$pooled[[length(out$pooled) + 1]] <- list(dfcom = if (is.finite(dfcom)) dfcom else "Inf",
      mitml = list(estimate = e[, 1], std_error = e[, 2], statistic = e[, 3], df = e[, 4], riv = e[, 6], fmi = e[, 7]),
      mice = list(t = sapply(pm, `[[`, "t"), df = sapply(pm, `[[`, "df"), riv = sapply(pm, `[[`, "r"), fmi = sapply(pm, `[[`, "fmi")))
    for (method in c("D1", "D2")) if (s[3] > 0) {
      # mitml's own functions, not testConstraints: that one differentiates the constraints numerically
      r <- if (method == "D1") mitml:::.D1(d$q, d$u, if (is.finite(dfcom)) dfcom) else {
        wald <- sapply(seq_len(s[1]), function(i) drop(d$q[, i] %*% solve(d$u[, , i]) %*% d$q[, i]))
        mitml:::.D2(wald, s[2])
      }
      result <- list(F = drop(r$F), df1 = r$k, df2 = r$v, p = pf(drop(r$F), r$k, r$v, lower.tail = FALSE), riv = r$r)
      out$tests[[length(out$tests) + 1]] <- list(method = method, dfcom = if (is.finite(dfcom)) dfcom else "Inf", result = result)
    }
  }
  rubin[[name]] <- out
}
p <- c(.0003, .04, .011, .5, .049, .012, 1, .0102)
t_values <- c(.3, 1.2, 2.5, 4, 7)
tukey <- do.call(rbind, lapply(c(2, 3, 6), function(n) do.call(rbind, lapply(c(4, 17.5, 120, Inf), function(df)
  data.frame(t = t_values, n_means = n, df = df, p = ptukey(sqrt(2) * t_values, n, df, lower.tail = FALSE))))))
tukey$df <- ifelse(is.finite(tukey$df), tukey$df, "Inf")
how <- expand.grid(fmi = c(.02, .2, .45, .9), m = c(5, 20), cv = c(.05, .1), conf = c(.95, .8))
how$upper <- with(how, plogis(qlogis(fmi) + qnorm(1 - (1 - conf) / 2) * sqrt(2 / m)))
how$needed <- with(how, ceiling(1 + .5 * (upper / cv)^2))
tails <- data.frame(x = c(1, 5, 40, 200), df1 = c(1, 2, 3, 1), df2 = c(3, 22.5, 1e4, 1e8))
tails$p <- with(tails, pf(x, df1, df2, lower.tail = FALSE))
out <- list(versions = list(R = R.version.string, mitml = as.character(packageVersion("mitml")), mice = as.character(packageVersion("mice"))),
  rubin = rubin, adjust = list(p = p, holm = p.adjust(p, "holm"), bonferroni = p.adjust(p, "bonferroni")),
  tukey = as.list(tukey), how_many = as.list(how), f_tails = as.list(tails))
writeLines(toJSON(out, digits = I(15), auto_unbox = TRUE, na = "null"), "pooling.json")
