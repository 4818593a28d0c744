# mids objects as saveRDS() writes them, with columns of all types -> readers/mids_*.rds, expected_mids_*.csv
# Run in tests/reference: Rscript scripts/readers_mids.R   (a few seconds; mice 3.15.0, mitml 0.4-4)
suppressMessages({library(mice); library(mitml)})
out <- function(name) file.path("readers", name)
csv <- function(x, name) write.csv(x, out(name), row.names = FALSE, na = "")

set.seed(6)
n <- 30
d <- data.frame(
  school = rep(1:6, each = 5), x = round(rnorm(n), 3), drawn01 = runif(n) < 0.5, truth = runif(n) < 0.4, left = runif(n) < 0.5,
  two = factor(sample(c("no", "yes"), n, TRUE), levels = c("yes", "no")), text = sample(c("u", "v", "w"), n, TRUE),
  whole = sample(1:5, n, TRUE), ranks = factor(sample(c("lo", "mid", "hi"), n, TRUE), c("lo", "mid", "hi"), ordered = TRUE),
  full = runif(n) < 0.5)
for (v in setdiff(names(d), c("school", "full"))) d[[v]][sample(n, 4)] <- NA

# logreg draws 0/1 for logicals, pmm draws logicals, "" draws nothing; mice keeps the environment it was called in
count <- compiler::cmpfun(function(k) { s <- 0; for (i in seq_len(k)) s <- s + switch(i, 1, length(quote(a + b(c))), 3); s })
own <- new.env()
assign("self", own, own)
blots <- list(x = list(f = count, at = own, g = sum, call = quote(a + b)))
impute <- function(d, m, seed) {
  method <- make.method(d)
  method[c("truth", "left")] <- c("pmm", "")
  mice(d, m = m, method = method, formulas = make.formulas(d), blots = blots, maxit = 1, seed = seed, printFlag = FALSE)
}
two <- impute(d, 2, 1)
saveRDS(two, out("mids_types.rds"))
csv(complete(two, "long", include = TRUE), "expected_mids_types.csv")
three <- ibind(two, impute(d, 1, 2))  # as futuremice does: imputations called 1, 2, 1
saveRDS(three, out("mids_ibind.rds"), version = 2, compress = "xz")
csv(complete(three, "long", include = TRUE), "expected_mids_ibind.csv")

p <- panImpute(d[c("school", "x", "drawn01")], formula = x + drawn01 ~ 1 + (1 | school), n.burn = 20, n.iter = 5, m = 2, seed = 1, silent = TRUE)
saveRDS(p, out("mitml_logical.rds"))
csv(do.call(rbind, Map(function(a, k) data.frame(.imp = k, .id = 1:n, a), mitmlComplete(p, 0:2), 0:2)), "expected_mitml_logical.csv")
