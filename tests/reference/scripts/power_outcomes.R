# Wald and likelihood-ratio p-values of glmer -> tests/reference/simulation/power_outcomes.json
# Run in tests/reference: Rscript scripts/power_outcomes.R. R 4.2.2, lme4 1.1-31.
# The responses in simulation/power_outcomes.csv.gz are made by tests/power/test_power_generalised.py (see `made` there).
suppressMessages({library(lme4); library(jsonlite)})
d <- read.csv(gzfile("simulation/power_outcomes.csv.gz"))
control <- glmerControl(optimizer = "bobyqa", tolPwrss = 1e-12, optCtrl = list(maxfun = 1e5))
out <- list(versions = list(R = as.character(getRversion()), lme4 = as.character(packageVersion("lme4"))))
for (kind in c("binomial", "poisson")) {
  family <- get(kind)()
  one <- function(r) {
    d$y <- d[[paste0(kind, r)]]
    full <- glmer(y ~ arm + x + (1 | clinic), d, family, control = control)
    null <- glmer(y ~ x + (1 | clinic), d, family, control = control)
    c(coef(summary(full))["arm", "Pr(>|z|)"], anova(null, full)[2, "Pr(>Chisq)"])
  }
  p <- sapply(0:9, one)
  out[[kind]] <- list(wald = p[1, ], lrt = p[2, ])
}
write(toJSON(out, digits = 17, auto_unbox = TRUE, pretty = TRUE), "simulation/power_outcomes.json")
