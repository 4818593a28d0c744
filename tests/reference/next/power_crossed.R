# P-values of lme4 and lmerTest in ten simulated data sets of one design: R 4.2.2, lme4 1.1-31, lmerTest 3.1-3, pbkrtest 0.5.2.
# Rscript tests/reference/next/power_crossed.R > tests/reference/next/power_crossed.json
suppressMessages({library(lmerTest); library(pbkrtest)})
data <- read.csv(gzfile("tests/reference/next/power_crossed.csv.gz"))
models <- list(cond = "cond + (1 + cond | subj) + (1 + cond | item)", arm = "arm + cond + (1 | subj) + (1 | item)")
control <- lmerControl(optimizer = "nloptwrap", optCtrl = list(xtol_abs = 1e-10, ftol_abs = 1e-12, maxeval = 1e5),
                       calc.derivs = FALSE)
number <- function(x) paste0("[", paste(formatC(unname(x), digits = 10, format = "g"), collapse = ", "), "]")
written <- character()
for (term in names(models)) {
  found <- sapply(0:9, function(r) {
    formula <- as.formula(sprintf("y%d ~ %s", r, models[[term]]))
    fit <- lmerTest::lmer(formula, data, control = control)
    less <- update(formula, as.formula(paste(". ~ . -", term)))
    of <- if (term == "arm") c("armb", "armc") else term
    v <- as.matrix(vcov(fit))[of, of, drop = FALSE]
    b <- fixef(fit)[of]
    ml <- sapply(list(formula, less), function(f) deviance(lme4::lmer(f, data, REML = FALSE, control = control)))
    c(satterthwaite = anova(fit)[term, "Pr(>F)"],
      kenward_roger = anova(fit, ddf = "Kenward-Roger")[term, "Pr(>F)"],
      lrt = pchisq(ml[2] - ml[1], length(of), lower.tail = FALSE),
      wald = pchisq(c(b %*% solve(v, b)), length(of), lower.tail = FALSE), singular = isSingular(fit, 1e-5))
  })
  rows <- sapply(rownames(found), function(name) sprintf('"%s": %s', name, number(found[name, ])))
  written <- c(written, sprintf('"%s": {"formula": "%s",\n %s}', term, models[[term]], paste(rows, collapse = ",\n ")))
}
cat("{", paste(written, collapse = ",\n"), "}\n", sep = "")
