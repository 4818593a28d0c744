# merTools on single fits -> predict/mertools.json
# Run in tests/reference: Rscript scripts/mertools.R   (about three minutes)
# Made with R 4.2.2, lme4 1.1-31, merTools 0.5.2, arm 1.13-1. Data: the csv files in visible/.
packageVersion <- function(p, ...) tryCatch(utils::packageVersion(p, ...), error = function(e) NA)   # lib.R lists more than is needed here
setwd("visible"); source("lib.R"); setwd("..")
suppressPackageStartupMessages({ library(merTools); library(foreach) }); registerDoSEQ()
read_case <- function(case) {
  info <- jsonlite::fromJSON(file.path("visible", paste0(case, ".json")), simplifyVector = FALSE); cols <- info$data$columns
  d <- read.csv(gzfile(file.path("visible", info$data$file)), colClasses = "character", na.strings = "")
  for (v in names(cols)) if (cols[[v]]$type == "factor") {
    lev <- unlist(cols[[v]]$levels); if (is.null(lev)) lev <- as.character(sort(as.numeric(unique(d[[v]]))))
    d[[v]] <- factor(d[[v]], levels = lev)
  } else if (cols[[v]]$type == "numeric") d[[v]] <- as.numeric(d[[v]])
  list(info = info, data = d)
}
plain <- function(d) as.list(data.frame(lapply(d, function(v) if (is.factor(v)) as.character(v) else v), check.names = FALSE, stringsAsFactors = FALSE))
cases <- list(sleepstudy_corr = "Reaction ~ Days + (1 + Days | Subject)", penicillin_crossed = "diameter ~ 1 + (1 | plate) + (1 | sample)",
              orthodont_sex = "distance ~ age * Sex + (1 + age | Subject)")
NS <- 8000
out <- lapply(names(cases), function(case) {
  say(case); d <<- read_case(case)$data; fit <- eval(bquote(lmer(.(str2lang(cases[[case]])), data = d, control = .(str2lang(CTRL_TXT)))))
  set.seed(1); rows <- sort(sample(nrow(d), 6)); new <- d[rows, ]
  pi <- function(...) { r <- suppressWarnings(suppressMessages(predictInterval(fit, new, n.sims = NS, seed = 42, ...))); r }
  groups <- names(ranef(fit)); er <- expectedRank(fit); re <- REsim(fit, n.sims = NS, seed = 3); fe <- FEsim(fit, n.sims = NS, seed = 4)
  list(formula = cases[[case]], rows = I(rows - 1L), n_sims = NS,
       full = pi(level = .8), full95_mean = pi(level = .95, stat = "mean"), fixed = pi(level = .9, which = "fixed"),
       no_residual = pi(level = .9, include.resid.var = FALSE), random_no_residual = pi(level = .9, which = "random", include.resid.var = FALSE),
       all = pi(level = .8, which = "all", include.resid.var = FALSE),
       expected_rank = er, fe_sim = fe, re_sim = re,
       re_quantile = lapply(setNames(groups, groups), function(g) lapply(c(.1, .25, .5, .9, 1), function(q) suppressMessages(REquantile(fit, q, g)))),
       average = plain(averageObs(fit)), average_subset = if ("Sex" %in% names(d)) plain(averageObs(fit, varList = list(Sex = "Female"))) else NULL,
       rmse = RMSE.merMod(fit), rmse_scaled = RMSE.merMod(fit, scale = TRUE), icc = ICC(all.vars(formula(fit))[1], groups[1], d),
       theta = I(thetaExtract(fit)))
})
names(out) <- names(cases)
say("wiggle"); d <- read_case("orthodont_sex")$data; case <- d[c(3, 80), ]
out$wiggle <- list(data = plain(case), one = plain(wiggle(case, "age", list(c(8, 11, 14)))),
                   two = plain(wiggle(case, list("age", "Sex"), list(c(8, 14), c("Male", "Female")))))
say("impact"); d <- read_case("hsb_vignette")$data; d <- d[d$.imp == "1", ]; for (v in c("ses", "mathach", "minority", "female", "meanses")) d[[v]] <- as.numeric(d[[v]])
fit <- eval(bquote(lmer(mathach ~ minority + female + ses + meanses + (1 + ses | schid), data = d, control = .(str2lang(CTRL_TXT)))))
case <- d[c(1, 5000), c("minority", "female", "ses", "meanses", "schid")]
set.seed(9); imp <- REimpact(fit, newdata = case, groupFctr = "schid", term = "Intercept", breaks = 4, n.sims = 4000, level = .9, seed = 7, include.resid.var = FALSE)
mar <- suppressWarnings(suppressMessages(REmargins(fit, newdata = case, groupFctr = "schid", term = c("Intercept", "ses"), breaks = 4, n.sims = 4000, level = .9, seed = 7, include.resid.var = FALSE)))
er <- expectedRank(fit, groupFctr = "schid")
out$hsb <- list(formula = "mathach ~ minority + female + ses + meanses + (1 + ses | schid)", case = plain(case), impact = as.list(imp),
                margins = plain(mar), expected_rank = lapply(split(er, er$term), function(x) as.list(x)),
                quantile = lapply(c(.05, .5, .95), function(q) REquantile(fit, q, "schid", "ses")), average = plain(averageObs(fit)))
writeLines(tojson(c(list(versions = VERSIONS[c("R", "lme4", "merTools")]), out)), "predict/mertools.json")
