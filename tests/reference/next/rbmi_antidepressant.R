# Reference numbers of R's rbmi: conditional mean imputation with the jackknife, of its antidepressant data.
# Rscript rbmi_antidepressant.R antidepressant_data.rda OUT.json
library(rbmi)
args <- commandArgs(TRUE)
load(args[1])
dat <- expand_locf(antidepressant_data, PATIENT = levels(antidepressant_data$PATIENT),
  VISIT = levels(antidepressant_data$VISIT), vars = c("BASVAL", "THERAPY"), group = "PATIENT",
  order = c("PATIENT", "VISIT"))
dat <- dat[order(dat$PATIENT, dat$VISIT), ]
missed <- dat[is.na(dat$CHANGE), c("PATIENT", "VISIT")]
event <- missed[!duplicated(missed$PATIENT) & missed$PATIENT != "3618", ]
# every third event is taken a visit earlier, so that there are observed values after it
early <- event
at <- seq_len(nrow(early)) %% 3 == 0 & early$VISIT != "5"
early$VISIT[at] <- levels(dat$VISIT)[as.integer(early$VISIT[at]) - 1]
vars <- set_vars(outcome = "CHANGE", visit = "VISIT", subjid = "PATIENT", group = "THERAPY",
  covariates = c("BASVAL*VISIT", "THERAPY*VISIT"))
analysed <- set_vars(outcome = "CHANGE", visit = "VISIT", subjid = "PATIENT", group = "THERAPY", covariates = "BASVAL")
drawn_with <- function(same, ice) {
  ice$strategy <- "JR"
  draws(dat, ice, vars, method_condmean(type = "jackknife", same_cov = same), quiet = TRUE)
}
one <- function(drawn, strategy, same, ice, name) {
  ice$strategy <- strategy
  imputed <- impute(drawn, c(DRUG = "PLACEBO", PLACEBO = "PLACEBO"), update_strategy = ice[c("PATIENT", "strategy")])
  frame <- extract_imputed_dfs(imputed)[[1]]
  pooled <- as.data.frame(pool(analyse(imputed, ancova, vars = analysed)))
  delta <- delta_template(imputed)
  delta$delta <- ifelse(delta$THERAPY == "DRUG" & delta$is_missing & delta$is_post_ice, 3, 0)
  shifted <- as.data.frame(pool(analyse(imputed, ancova, vars = analysed, delta = delta)))
  message(name, " ", strategy, " ", same)
  list(strategy = strategy, event = name, same_covariance = same, parameter = pooled$parameter, est = pooled$est,
    se = pooled$se, lci = pooled$lci, uci = pooled$uci, p = pooled$pval, delta_est = shifted$est,
    delta_se = shifted$se, imputed = frame$CHANGE[is.na(dat$CHANGE)])
}
parameters_of <- function(drawn) list(beta = drawn$samples[[1]]$beta, sigma = unname(drawn$samples[[1]]$sigma))
out <- parameters <- list()
for (same in c(TRUE, FALSE)) {
  drawn <- drawn_with(same, event)
  parameters[[length(parameters) + 1]] <- c(list(event = "first missing", same_covariance = same), parameters_of(drawn))
  for (strategy in c("JR", "CR", "CIR", "LMCF", "MAR"))
    out[[length(out) + 1]] <- one(drawn, strategy, same, event, "first missing")
}
drawn <- drawn_with(TRUE, early)
parameters[[3]] <- c(list(event = "early", same_covariance = TRUE), parameters_of(drawn))
for (strategy in c("JR", "CIR")) out[[length(out) + 1]] <- one(drawn, strategy, TRUE, early, "early")
text <- list(made_with = paste0(R.version.string, ", rbmi ", packageVersion("rbmi"), ", mmrm ", packageVersion("mmrm")),
  patient = as.character(missed$PATIENT), visit = as.character(missed$VISIT), event_patient = as.character(event$PATIENT),
  event_visit = as.character(event$VISIT), early_visit = as.character(early$VISIT), runs = out, parameters = parameters)
writeLines(jsonlite::toJSON(text, auto_unbox = TRUE, digits = 12), args[2])
