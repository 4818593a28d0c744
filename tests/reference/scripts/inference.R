# Inference of single and of multiply imputed fits -> tests/reference/inference/*.json
# Run in tests/reference: Rscript scripts/inference.R [BLOCK ...]; blocks: ftests anova profile profile_large robust emmeans mitml
# lme4 1.1-31, lmerTest 3.1-3, pbkrtest 0.5.2, emmeans, clubSandwich, mitml 0.4-4 (versions in each file).
suppressPackageStartupMessages({ library(Matrix); library(lme4); library(emmeans); library(clubSandwich) })
# the helpers of lib.R only: its first lines load packages that are not needed here
for (e in parse("visible/lib.R")) if (is.call(e) && identical(e[[1]], as.name("<-")) && !identical(e[[2]], as.name("VERSIONS"))) eval(e, globalenv())
args <- commandArgs(TRUE)
wanted <- function(block) length(args) == 0 || block %in% args
control <- eval(str2lang(CTRL_TXT))
versions <- c(R = paste(R.version$major, R.version$minor, sep = "."), sapply(c("lme4", "lmerTest", "pbkrtest", "emmeans", "clubSandwich", "mitml"), function(p) as.character(packageVersion(p))))
save_to <- function(x, name) writeLines(tojson(c(list(versions = versions), x)), file.path("inference", paste0(name, ".json")))

read_case <- function(case) {
  info <- jsonlite::fromJSON(file.path("visible", paste0(case, ".json")), simplifyVector = FALSE)
  cols <- info$data$columns
  text <- names(cols)[sapply(cols, function(v) v$type %in% c("factor", "character"))]
  raw <- read.csv(gzfile(file.path("visible", info$data$file)), colClasses = setNames(rep("character", length(text)), text), check.names = FALSE)
  for (v in names(cols)) if (cols[[v]]$type == "factor") {
    lev <- unlist(cols[[v]]$levels); if (is.null(lev)) lev <- sort(unique(raw[[v]]))
    raw[[v]] <- factor(raw[[v]], levels = lev, ordered = isTRUE(cols[[v]]$ordered))
  }
  sets <- if (".imp" %in% names(raw)) split(raw[raw$.imp > 0, ], raw$.imp[raw$.imp > 0]) else list(raw)
  list(info = info, sets = sets)
}
# the call holds the data themselves, so that lmerTest and emmeans can evaluate it again
fit_one <- function(formula, data) eval(bquote(lme4::lmer(.(as.formula(formula, env = globalenv())), data = .(data), REML = TRUE, control = control)), globalenv())

if (wanted("ftests")) {
  cases <- list(sleepstudy_quadratic_I = 2:3, cake_interaction = 2:3, machines_3dim = 2:3, oats_splitplot = 2:4, orthodont_sex = 2:4, exam_slopes = 3:5, penicillin_crossed = 1)
  out <- lapply(names(cases), function(case) {
    r <- read_case(case); d <- r$sets[[1]]; fit <- fit_one(r$info$formula, d); p <- length(fixef(fit))
    L <- diag(p)[cases[[case]], , drop = FALSE]
    if (case == "orthodont_sex") L <- rbind(c(0, 1, 0, -1), c(0, 0, 1, 5))
    lt <- lmerTest:::as_lmerModLT(fit, update(fit, devFunOnly = TRUE))
    s <- lmerTest::contestMD(lt, L)
    kr <- if (nrow(d) < 400) { k <- pbkrtest::KRmodcomp(fit, L)$test; list(F = k["Ftest", "stat"], ndf = k["Ftest", "ndf"], ddf = k["Ftest", "ddf"], scaling = k["Ftest", "F.scaling"], p = k["Ftest", "p.value"]) }
    list(L = L, satterthwaite = list(F = s[["F value"]], df1 = s[["NumDF"]], df2 = s[["DenDF"]], p = s[["Pr(>F)"]]), kenward_roger = kr)
  })
  save_to(setNames(out, names(cases)), "ftests")
}

if (wanted("anova")) {
  # type III tests of the terms; oats without its first seven rows is not balanced
  models <- list(
    list(case = "cake_interaction"), list(case = "cake_numeric"), list(case = "cake_poly"), list(case = "orthodont_sex"), list(case = "machines_3dim"),
    list(case = "oats_splitplot", drop = 7), list(case = "oats_splitplot", drop = 7, formula = "Y ~ 0 + N + V + (1 | B/V)"),
    list(case = "studentratings_k5_ml", formula = "ReadAchiev ~ FedState * CognAbility + ReadDis + (1 | ID)"))
  out <- lapply(models, function(model) {
    r <- read_case(model$case); d <- r$sets[[1]]; if (!is.null(model$drop)) d <- d[-seq_len(model$drop), ]
    formula <- if (is.null(model$formula)) r$info$formula else model$formula
    fit <- lmerTest::as_lmerModLmerTest(fit_one(formula, d))
    s <- anova(fit); k <- if (nrow(d) < 400) anova(fit, ddf = "Kenward-Roger")
    one <- function(a) list(F = I(a[["F value"]]), df1 = I(a[["NumDF"]]), df2 = I(a[["DenDF"]]))
    list(case = model$case, drop = if (is.null(model$drop)) 0 else model$drop, formula = formula, terms = I(rownames(s)), satterthwaite = one(s), kenward_roger = if (!is.null(k)) one(k))
  })
  save_to(list(models = out), "anova")
}

if (wanted("profile")) {
  cases <- c("dyestuff", "dyestuff2_singular", "sleepstudy_corr", "sleepstudy_uncorr", "pastes_nested", "penicillin_crossed", "orthodont_sex")
  out <- lapply(cases, function(case) {
    r <- read_case(case); d <- r$sets[[1]]; fit <- fit_one(r$info$formula, d)
    # a fine step: the limits come from a spline through the profile
    pr <- suppressWarnings(profile(fit, delta = sqrt(qchisq(0.99, 1)) / 40, signames = FALSE))
    ci <- confint(pr, level = 0.95)
    list(names = I(rownames(ci)), low = I(unname(ci[, 1])), high = I(unname(ci[, 2])))
  })
  save_to(setNames(out, cases), "profile")
}

if (wanted("profile_large")) {
  # three columns, and 160 schools. lme4's own steps (an eighth of the way); correlations need finer ones, since its spline
  # bridges default steps with errors of up to 0.15
  large <- list(machines_3dim = NULL, hsb_vignette = "mathach ~ ses + meanses + (1 + ses | schid)")
  out <- lapply(names(large), function(case) {
    r <- read_case(case); formula <- if (is.null(large[[case]])) r$info$formula else large[[case]]
    fit <- eval(bquote(lme4::lmer(.(as.formula(formula)), data = .(r$sets[[1]]), REML = TRUE)))
    ci <- suppressWarnings(confint(profile(fit, signames = FALSE), level = 0.95))
    cors <- grep("^cor_", rownames(ci))
    ci[cors, ] <- suppressWarnings(confint(profile(fit, which = cors, delta = sqrt(qchisq(0.99, 1)) / 64, signames = FALSE), level = 0.95))
    list(formula = formula, names = I(rownames(ci)), low = I(unname(ci[, 1])), high = I(unname(ci[, 2])))
  })
  save_to(setNames(out, names(large)), "profile_large")
}

if (wanted("robust")) {
  robust <- function(fit) lapply(c(CR0 = "CR0", CR2 = "CR2"), function(type) {
    v <- vcovCR(fit, type = type); ct <- coef_test(fit, vcov = v, test = "Satterthwaite")
    p <- length(fixef(fit)); L <- diag(p)[2:min(p, 4), , drop = FALSE]
    w <- Wald_test(fit, constraints = L, vcov = v, test = "HTZ")
    list(vcov = unname(as.matrix(v)), df = I(unname(if (is.null(ct$df_Satt)) ct$df else ct$df_Satt)), wald = list(L = L, F = w$Fstat, df1 = w$df_num, df2 = w$df_denom, p = w$p_val))
  })
  cases <- c("sleepstudy_corr", "oats_splitplot", "orthodont_sex", "hsb_vignette", "cake_numeric")
  out <- lapply(cases, function(case) { r <- read_case(case); lapply(unname(r$sets), function(d) robust(fit_one(r$info$formula, d))) })
  save_to(setNames(out, cases), "robust")
}

if (wanted("emmeans")) {
  em <- function(fit, d, specs, by = NULL, at = NULL, adjust = "tukey") {
    a <- list(object = fit, specs = specs, lmer.df = "satterthwaite", data = d); if (!is.null(by)) a$by <- by; if (!is.null(at)) a$at <- at
    g <- do.call(emmeans, a); s <- summary(g); q <- lapply(setNames(adjust, adjust), function(m) summary(pairs(g), adjust = m))
    list(linfct = g@linfct, means = list(emmean = I(s$emmean), SE = I(s$SE), df = I(s$df)),
         pairs = list(contrast = I(as.character(q[[1]]$contrast)), estimate = I(q[[1]]$estimate), SE = I(q[[1]]$SE), df = I(q[[1]]$df), p = lapply(q, function(z) I(z$p.value))))
  }
  one <- function(case, ...) { r <- read_case(case); d <- r$sets[[1]]; em(fit_one(r$info$formula, d), d, ...) }
  out <- list(cake_recipe = one("cake_numeric", "recipe", adjust = c("tukey", "holm")), cake_interaction = one("cake_interaction", "recipe", adjust = "tukey"),
              oats_N = one("oats_splitplot", "N", adjust = c("tukey", "holm")), oats_N_by_V = one("oats_splitplot", "N", by = "V"), cake_at = one("cake_numeric", "recipe", at = list(temp = 185)))
  r <- read_case("studentratings_k5_ml"); all <- do.call(rbind, r$sets); f <- "ReadAchiev ~ FedState * SES + Sex + (1 | ID)"
  out$studentratings <- list(formula = f, sets = lapply(unname(r$sets), function(d) em(fit_one(f, d), d, "FedState", at = list(SES = mean(all$SES)))))
  save_to(out, "emmeans")
}

if (wanted("mitml")) {
  table1 <- function(case, formula) {
    r <- read_case(case); fits <- lapply(r$sets, function(d) fit_one(formula, d))
    e <- mitml::testEstimates(fits, extra.pars = TRUE)
    list(formula = formula, extra_pars = setNames(e$extra.pars[, 1], rownames(e$extra.pars)),
         r2 = lapply(unname(fits), function(f) mitml::multilevelR2(f)), reml = I(unname(sapply(fits, lme4::REMLcrit))))
  }
  save_to(list(studentratings = table1("studentratings_k5", "ReadAchiev ~ ReadDis + SES + (1 | ID)"),
               hsb = table1("hsb_vignette", "mathach ~ minority + female + ses + meanses + (1 + ses | schid)")), "mitml")
}

if (wanted("studentratings")) {
  suppressPackageStartupMessages(library(mitml)); data(studentratings)
  capture.output(imp <- panImpute(studentratings, formula = ReadDis + SES ~ ReadAchiev + (1 | ID), n.burn = 1000, n.iter = 50, m = 5, seed = 1234, silent = TRUE))
  sets <- mitmlComplete(imp, "all"); f <- "ReadAchiev ~ ReadDis + SES + (1 | ID)"
  keep <- c("ID", "ReadAchiev", "ReadDis", "SES")
  long <- do.call(rbind, lapply(seq_along(sets), function(k) cbind(.imp = k, sets[[k]][keep])))
  text <- as.data.frame(lapply(long, function(v) sprintf("%.17g", as.numeric(v))), check.names = FALSE); names(text) <- names(long)
  con <- gzfile("inference/studentratings_1234.csv.gz", "wb", compression = 9); write.csv(text, con, row.names = FALSE, quote = FALSE); close(con)
  fits <- lapply(sets, function(d) fit_one(f, d)); null <- lapply(sets, function(d) fit_one("ReadAchiev ~ 1 + (1 | ID)", d))
  as_list <- function(t) setNames(lapply(seq_len(nrow(t)), function(i) t[i, ]), rownames(t))
  e <- mitml::testEstimates(fits, extra.pars = TRUE); e47 <- mitml::testEstimates(fits, df.com = 47)
  test <- function(...) { z <- mitml::testModels(fits, null, ...)$test; setNames(as.numeric(z[1, ]), c("F", "df1", "df2", "p", "riv")) }
  save_to(list(formula = f, reml = I(unname(sapply(fits, lme4::REMLcrit))), estimates = as_list(e$estimates), estimates_dfcom_47 = as_list(e47$estimates),
    extra_pars = setNames(e$extra.pars[, 1], rownames(e$extra.pars)), r2 = mitml::multilevelR2(fits[[1]]),
    tests = list(D1 = test(method = "D1"), D1_dfcom_47 = test(method = "D1", df.com = 47), D2_wald = test(method = "D2", use = "wald"), D2_likelihood = test(method = "D2", use = "likelihood"),
      D3 = test(method = "D3"), D4 = test(method = "D4"), D4_robust = test(method = "D4", ariv = "robust"))), "studentratings_1234")
}
