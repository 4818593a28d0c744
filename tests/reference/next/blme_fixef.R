# Fits with normal priors on coefficients: R 4.2.2, blme 1.0-5, the optimum polished by nlminb.
# Rscript tests/reference/next/blme_fixef.R > tests/reference/next/blme_fixef.json
suppressMessages(library(blme))
data(sleepstudy, package = "lme4")
polished <- function(par, fn, lower, upper, control) {
  found <- nlminb(par, fn, lower = lower, upper = upper, control = list(rel.tol = 1e-15, x.tol = 1e-12, abs.tol = 0))
  found <- nlminb(found$par, fn, lower = lower, upper = upper, control = list(rel.tol = 1e-15, x.tol = 1e-12, abs.tol = 0))
  list(par = found$par, fval = found$objective, conv = 0, feval = 1)
}
control <- lmerControl(optimizer = "polished", calc.derivs = FALSE, restart_edge = FALSE)
one <- "Reaction ~ Days + (1 | Subject)"
cases <- list(
  list(formula = one, sd = c(10, 2.5), cov_prior = FALSE),
  list(formula = "Reaction ~ Days + (1 + Days | Subject)", sd = c(10, 2.5), cov_prior = FALSE),
  list(formula = one, sd = c(Days = 0.1), cov_prior = FALSE),
  list(formula = "Reaction ~ Days + I(Days^2) + (1 | Subject)", sd = c(5, 1, 0.01), cov_prior = TRUE))
array <- function(x) paste0("[", paste(trimws(formatC(unname(x), digits = 15, format = "g")), collapse = ", "), "]")
written <- character()
for (case in cases) for (reml in c(TRUE, FALSE)) {
  formula <- as.formula(case$formula)
  sd <- case$sd
  prior <- substitute(normal(sd = own), list(own = sd))
  call <- substitute(blmer(formula, sleepstudy, REML = reml, cov.prior = NULL, fixef.prior = prior, control = control),
                     list(prior = prior, formula = formula))
  if (case$cov_prior) call$cov.prior <- quote(wishart)
  f <- eval(call)
  given <- if (is.null(names(sd))) array(sd) else sprintf('{"%s": %s}', names(sd), format(sd))
  written <- c(written, sprintf(
    '{"formula": "%s", "reml": %s, "sd": %s, "cov_prior": %s,\n "theta": %s, "fixef": %s,\n "se": %s, "sigma": %s, "criterion": %s}',
    case$formula, tolower(reml), given, if (case$cov_prior) '"wishart"' else "null", array(getME(f, "theta")),
    array(fixef(f)), array(sqrt(diag(as.matrix(vcov(f))))), formatC(sigma(f), digits = 15, format = "g"),
    formatC(-2 * as.numeric(logLik(f)), digits = 15, format = "g")))
}
cat("[\n", paste(written, collapse = ",\n"), "\n]\n", sep = "")
