# Generalised fits with priors on coefficients: R 4.2.2, blme 1.0-5, the optimum polished by nlminb.
# Rscript tests/reference/next/blme_glmer.R > tests/reference/next/blme_glmer.json
# blme's scales of t are squares; `scale` here has their roots. The data are blme_schools.csv.gz; `apart` is 1 where x > 0.
suppressMessages(library(blme))
path <- commandArgs(trailingOnly = FALSE)
folder <- dirname(sub("--file=", "", path[grep("--file=", path)]))
data <- read.csv(gzfile(file.path(folder, "blme_schools.csv.gz")))
data$apart <- as.numeric(data$x > 0)
data$k <- round(abs(data$y))
polished <- function(par, fn, lower, upper, control) {
  finite <- function(at) tryCatch(fn(at), error = function(e) 1e10)
  for (i in 1:6)
    par <- nlminb(par, finite, lower = lower, upper = upper,
                  control = list(rel.tol = 1e-15, x.tol = 1e-13, abs.tol = 0, eval.max = 5000, iter.max = 5000))$par
  list(par = par, fval = fn(par), conv = 0, feval = 1)
}
control <- glmerControl(optimizer = "polished", calc.derivs = FALSE, restart_edge = FALSE, tolPwrss = 1e-13)
cases <- list(
  list(y = "z", family = "binomial", quote(normal(sd = c(10, 2.5))), nAGQ = 1, json = '"prior": "normal", "sd": [10, 2.5]'),
  list(y = "z", family = "binomial", quote(t(df = 3, scale = c(0.25, 0.04))), nAGQ = 1,
       json = '"prior": "t", "df": 3, "scale": [0.5, 0.2]'),
  list(y = "z", family = "binomial", quote(normal(sd = c(1, 0.5))), nAGQ = 7, json = '"prior": "normal", "sd": [1, 0.5]'),
  list(y = "apart", family = "binomial", quote(normal(sd = c(10, 2.5))), nAGQ = 1, json = '"prior": "normal", "sd": [10, 2.5]'),
  list(y = "k", family = "poisson", quote(normal(sd = c(0.5, 0.05))), nAGQ = 1, json = '"prior": "normal", "sd": [0.5, 0.05]'))
array <- function(x) paste0("[", paste(trimws(formatC(unname(x), digits = 15, format = "g")), collapse = ", "), "]")
written <- character()
for (case in cases) {
  formula <- as.formula(paste(case$y, "~ x + (1 | school)"))
  call <- substitute(bglmer(formula, data, family = family, nAGQ = nAGQ, cov.prior = wishart, fixef.prior = prior,
                            control = control),
                     list(formula = formula, family = case$family, nAGQ = case$nAGQ, prior = case[[3]]))
  f <- eval(call)
  written <- c(written, sprintf(
    '{"response": "%s", "family": "%s", "n_quad": %d, %s,\n "theta": %s, "fixef": %s}', case$y,
    case$family, case$nAGQ, case$json, array(getME(f, "theta")), array(fixef(f))))
}
cat("[\n", paste(written, collapse = ",\n"), "\n]\n", sep = "")
