# Weighted mixed models of tests/reference/survey/pupils.csv.gz, whose weights are total weights.
# Rscript tests/reference/scripts/survey.R, from the root of the repository. R 4.2.2, WeMix 4.0.4, survey 4.1-1.
suppressMessages({library(WeMix); library(survey); library(jsonlite)})
folder <- "tests/reference/survey"
d <- read.csv(gzfile(file.path(folder, "pupils.csv.gz")))
d$class <- paste(d$school, d$room)
num <- function(x) unname(as.numeric(x))
of <- function(m) list(lnl = m$lnl, coef = num(m$coef), se = num(m$SE), vars = num(m$vars), names = names(m$vars),
                       se_vars = num(m$varDF$SEvcov))
out <- list(versions = list(R = as.character(getRversion()), WeMix = as.character(packageVersion("WeMix")),
                            survey = as.character(packageVersion("survey"))))
out$slopes <- of(mix(y ~ x + (1 + x | school), d, weights = c("w1", "w3")))
out$intercept <- of(mix(y ~ x + (1 | school), d, weights = c("w1", "w3")))
out$three <- of(mix(y ~ x + (1 + x | school) + (1 | class), d, weights = c("w1", "w2", "w3")))
out$pv <- lapply(paste0("pv", 1:5), function(y)
  of(mix(as.formula(paste(y, "~ x + (1 | school)")), d, weights = c("w1", "w3"))))
# a jackknife of schools: df and standard error of a weighted mean
des <- as.svrepdesign(svydesign(~school, weights = ~w1, data = d), type = "JK1")
mean <- svymean(~y, des)
out$jk1 <- list(df = degf(des), mean = num(coef(mean)), se = num(SE(mean)), scale = des$scale)
write(toJSON(out, digits = 17, auto_unbox = TRUE, pretty = TRUE), file.path(folder, "wemix.json"))
