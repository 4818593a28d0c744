# Model matrices and random terms as R and lme4 build them -> model_matrix/data.csv, lme4.json, matrices.json, contrasts.json
# Run in tests/reference: Rscript scripts/model_matrix.R   (a few seconds)
# Made with R 4.2.2, lme4 1.1-31. The data are random numbers made here.
suppressMessages(library(lme4))
library(splines)
js <- function(x, f) writeLines(jsonlite::toJSON(x, digits = NA, auto_unbox = TRUE, matrix = "rowmajor", null = "null"), f)
mat <- function(m) list(names = I(as.character(colnames(m))), values = unname(m[seq_len(nrow(m)), , drop = FALSE]))

set.seed(11)
n <- 36
d <- data.frame(
  g = sample(paste0("g", 1:5), n, TRUE), h = sample(paste0("h", 1:3), n, TRUE), k = sample(paste0("k", 1:2), n, TRUE),
  f = sample(c("a", "b", "c"), n, TRUE), o = sample(c("low", "mid", "high", "top", "peak"), n, TRUE),
  x = signif(rnorm(n), 10), z = signif(rnorm(n, 5), 10), t = signif(runif(n, 2000, 2020), 10),
  i = sample(1:4, n, TRUE), b = sample(c(TRUE, FALSE), n, TRUE), x.1 = signif(rexp(n), 10))
d$y <- signif(d$x + rnorm(n), 10)
d$x_na <- replace(d$x, c(3, 17), NA)
write.csv(d, "model_matrix/data.csv", row.names = FALSE, na = "")
d <- read.csv("model_matrix/data.csv", stringsAsFactors = TRUE)
d$o <- factor(d$o, levels = c("low", "mid", "high", "top", "peak"), ordered = TRUE)

# --- lme4: the fixed matrix, the offset, and each random term's matrix and levels
formulas <- c(names(jsonlite::fromJSON("syntax/syntax.json")$reml_criterion),
  "y ~ 1 + (1 | g/h/k)", "y ~ (1 + x | g/h/k)", "y ~ x + (1 + x || g/h)", "y ~ x + (1 + x + f || g)", "y ~ (x * z || g)",
  "y ~ (0 + f || g)", "y ~ (-1 + x | g)", "y ~ (x - 1 || g)", "y ~ z + ((1 | g)) + (x + (0 + x | h))", "y ~ (1 | g/k:h)",
  "y ~ o + (1 + o | g)", "y ~ 0 + o + (0 + o | g)", "y ~ b * x + (1 + b | g)", "log(z) ~ x.1 + (1 | g) + offset(x) + offset(log(z))",
  "y/10 ~ I(x > 0) + (1 | h:g)", "y ~ 0 + (1 | g)", "y ~ -1 + x + (1 | g)")
quiet <- lmerControl(check.nobs.vs.nRE = "ignore", check.nobs.vs.nlev = "ignore", check.nlev.gtr.1 = "ignore", check.rankX = "ignore")
lme4_case <- function(text) {
  f <- as.formula(text)
  l <- suppressWarnings(suppressMessages(lFormula(f, d, control = quiet)))
  bars <- findbars(f)
  random <- lapply(bars, function(bar) {
    m <- model.matrix(eval(substitute(~lhs, list(lhs = bar[[2]]))), l$fr)
    label <- deparse(bar[[3]])
    c(list(group = label, levels = I(levels(l$reTrms$flist[[label]])), codes = I(as.integer(l$reTrms$flist[[label]]))), mat(m))
  })
  offset <- model.offset(l$fr)
  list(formula = text, rows = I(as.integer(rownames(l$fr))), response = I(as.numeric(model.response(l$fr))),
       offset = if (is.null(offset)) NULL else I(as.numeric(offset)), fixed = mat(l$X), random = random)
}
js(lapply(formulas, lme4_case), "model_matrix/lme4.json")

# --- model.matrix alone
sides <- c("x*z + f", "x:z", "z:x + x", "(x + z + f)^2", "(x + z + f)^2 - x:z", "(x + z + f)^9", "(x + z - x):f", "z*x + f:x", "x^2", "x/f", "f/x", "(x + z)/f", "x:f", "x + x:f",
  "0 + x:f", "0 + f*k", "f*k*x", "f + f:k", "x + z - 1", "(x - 1) + z",
  "I(x^2)", "I(x**2)", "I(-x^2)", "I(2 * -x)", "I(x/10)", "I(x + z*2 - 1)", "I(x > 0)", "I(x > 0 & b)", "I(!b | f == 'a')", "I(f != 'a')",
  "I(i %% 3)", "I(-i %/% 3)", "I(2^-i)", "log(x^2)", "log(z, 2)", "log(z, base = 10)", "log2(z)", "log10(z)", "log1p(z)", "exp(x)", "expm1(x)",
  "sqrt(z)", "abs(x)", "sign(x)", "floor(x)", "ceiling(x)", "round(x)", "round(x, 2)", "sin(2*pi*x)", "cos(x)", "tan(x)", "asin(x/10)",
  "acos(x/10)", "atan(x)", "sinh(x)", "cosh(x)", "tanh(x)", "pmin(x, z)", "pmax(x, 0)", "ifelse(x > 0, x, -1)", "as.numeric(b)", "b", "b*x",
  "factor(f)", "factor(i)", "as.factor(i)", "factor(b)", "C(f)", "C(f, contr.sum)", "C(f, contr.helmert)", "C(f, contr.poly)",
  "C(o, contr.treatment)", "relevel(f, ref = 'b')", "relevel(factor(i), '3')*x", "o", "o*x", "f:o + f + o", "0 + o",
  "poly(x, 2)", "poly(x, 4)", "poly(t, 3)", "poly(x, 2, raw = TRUE)", "poly(x, degree = 3, raw = T)", "poly(x, 2)*f", "poly(log(z), 2)",
  "scale(x)", "scale(x, scale = FALSE)", "scale(z, center = FALSE)", "scale(z, 3, 2)", "scale(z, FALSE, FALSE)", "I(scale(x)^2)",
  "poly(scale(t), 2)", "bs(x, df = 5)", "bs(x, knots = c(-0.5, 0.5), degree = 2)", "bs(x, 5, intercept = TRUE)", "x.1 + i")
js(lapply(sides, function(s) c(list(rhs = s), mat(model.matrix(as.formula(paste("~", s)), d)))), "model_matrix/matrices.json")

# --- new data with the state of the old (predict uses predvars)
new <- d[1:6, ]; new$x <- c(-0.5, 0, 0.25, 0.5, 0.75, 1); new$f <- factor(c("c", "c", "a", "a", "c", "a")); new$b <- TRUE; new$o <- d$o[c(1, 1, 2, 2, 2, 2)]
again <- c("poly(x, 2)", "scale(x) + f", "bs(x, df = 5)", "b*f", "o", "I(x^2)*f")
js(lapply(again, function(s) {
  fit <- lm(as.formula(paste("y ~", s)), d)
  mt <- delete.response(terms(fit))
  c(list(rhs = s), mat(model.matrix(mt, model.frame(mt, new, xlev = fit$xlevels), contrasts.arg = fit$contrasts)))
}), "model_matrix/newdata.json")
write.csv(data.frame(x = new$x, f = new$f, b = new$b, o = new$o), "model_matrix/newdata.csv", row.names = FALSE)

js(lapply(c(2:8, 12), function(k) list(levels = k, names = I(colnames(contr.poly(k))), values = unname(contr.poly(k)[, , drop = FALSE]))),
   "model_matrix/contrasts.json")
