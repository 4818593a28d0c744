# Parametric-bootstrap tests of pbkrtest in three of the data sets of power_crossed.csv.gz: R 4.2.2, lme4 1.1-31, pbkrtest 0.5.2.
# Rscript tests/reference/next/power_bootstrap.R > tests/reference/next/power_bootstrap.json
suppressMessages({library(lme4); library(pbkrtest)})
data <- read.csv(gzfile("tests/reference/next/power_crossed.csv.gz"))
models <- list(cond = "cond + (1 + cond || subj) + (1 | item)", arm = "arm + cond + (1 | subj) + (1 | item)")
control <- lmerControl(calc.derivs = FALSE)
number <- function(x) paste0("[", paste(formatC(unname(x), digits = 10, format = "g"), collapse = ", "), "]")
sets <- c(6, 7, 9)
written <- character()
for (term in names(models)) {
  found <- sapply(sets, function(r) {
    formula <- as.formula(sprintf("y%d ~ %s", r, models[[term]]))
    full <- lmer(formula, data, REML = FALSE, control = control)
    less <- lmer(update(formula, as.formula(paste(". ~ . -", term))), data, REML = FALSE, control = control)
    # the draws of PBmodcomp, whose p-value is the share that reaches the ratio
    drawn <- PBrefdist(full, less, nsim = 1000, seed = 100 + r, cl = 1)
    ratio <- 2 * as.numeric(logLik(full) - logLik(less))
    c(ratio = ratio, p_value = (1 + sum(drawn >= ratio)) / (1 + length(drawn)), draws = length(drawn))
  })
  rows <- sapply(rownames(found), function(name) sprintf('"%s": %s', name, number(found[name, ])))
  written <- c(written, sprintf('"%s": {"formula": "%s",\n %s}', term, models[[term]], paste(rows, collapse = ",\n ")))
}
cat("{\"sets\": ", number(sets), ",\n", paste(written, collapse = ",\n"), "}\n", sep = "")
