# Column names of broom.mixed's tables: Rscript broom_names.R > ../report/broom_names.json
suppressMessages({library(lmerTest); library(broom.mixed); library(jsonlite)})
fit <- lmer(Reaction ~ Days + (Days | Subject), lme4::sleepstudy)
effects <- c("fixed", "ran_pars", "ran_vals", "ran_coefs")
tables <- suppressWarnings(lapply(setNames(effects, effects), function(e) names(tidy(fit, effects = e, conf.int = TRUE))))
about <- list(broom.mixed = as.character(packageVersion("broom.mixed")), tidy = tables, augment = names(augment(fit)))
cat(toJSON(about, auto_unbox = TRUE, pretty = TRUE), "\n")
