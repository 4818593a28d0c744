# Fits with t priors on coefficients: R 4.2.2, blme 1.0-5, the optimum polished by nlminb.
# Rscript tests/reference/next/blme_t.R > tests/reference/next/blme_t.json
# blme's scales are squares; `scale` here has their roots, null for infinity.
suppressMessages(library(blme))
data(sleepstudy, package = "lme4")
polished <- function(par, fn, lower, upper, control) {
  finite <- function(at) tryCatch(fn(at), error = function(e) 1e10)
  for (i in 1:6)
    par <- nlminb(par, finite, lower = lower, upper = upper, scale = 1 / pmax(abs(par), 0.01),
                  control = list(rel.tol = 1e-15, x.tol = 1e-13, abs.tol = 0, eval.max = 5000, iter.max = 5000))$par
  list(par = par, fval = fn(par), conv = 0, feval = 1)
}
control <- lmerControl(optimizer = "polished", calc.derivs = FALSE, restart_edge = FALSE)
one <- "Reaction ~ Days + (1 | Subject)"
cases <- list(
  list(formula = one, df = 3, scale = c(10, 2.5), cov_prior = FALSE),
  list(formula = one, df = 3, scale = c(1, 0.05), cov_prior = FALSE),
  list(formula = one, df = 1, scale = c(Inf, 0.02), cov_prior = FALSE),
  list(formula = "Reaction ~ Days + (1 + Days | Subject)", df = 5, scale = c(4, 0.1), cov_prior = TRUE))
array <- function(x) paste0("[", paste(trimws(ifelse(is.finite(x), formatC(unname(x), digits = 15, format = "g"), "null")),
                                       collapse = ", "), "]")
written <- character()
for (case in cases) {
  formula <- as.formula(case$formula)
  call <- substitute(blmer(formula, sleepstudy, REML = FALSE, cov.prior = NULL, fixef.prior = t(df = df0, scale = scale0),
                           control = control), list(formula = formula, df0 = case$df, scale0 = case$scale^2))
  if (case$cov_prior) call$cov.prior <- quote(wishart)
  f <- eval(call)
  written <- c(written, sprintf(
    '{"formula": "%s", "df": %s, "scale": %s, "cov_prior": %s,\n "theta": %s, "fixef": %s, "sigma": %s, "criterion": %s}',
    case$formula, case$df, array(case$scale), if (case$cov_prior) '"wishart"' else "null", array(getME(f, "theta")),
    array(fixef(f)), formatC(sigma(f), digits = 15, format = "g"),
    formatC(-2 * as.numeric(logLik(f)), digits = 15, format = "g")))
}
cat("[\n", paste(written, collapse = ",\n"), "\n]\n", sep = "")
