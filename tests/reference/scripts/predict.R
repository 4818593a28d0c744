# Predictions, leverages and standard errors of predictions from lme4 -> predict/lme4.json, predict/pooled.json
# Run in tests/reference: Rscript scripts/predict.R   (about a minute)
# Made with R 4.2.2, lme4 1.1-31, Matrix 1.5-3. Data: the csv files in visible/ (see visible's README).
# Standard errors: dense Henderson (1975) mixed-model equations, Var(x'(bhat - beta) + z'(uhat - u)) = (x,z) C^-1 (x,z)' s^2.
packageVersion <- function(p, ...) tryCatch(utils::packageVersion(p, ...), error = function(e) NA)   # lib.R lists more than is needed here
setwd("visible"); source("lib.R"); setwd("..")
read_case <- function(case) {
  info <- jsonlite::fromJSON(file.path("visible", paste0(case, ".json")), simplifyVector = FALSE)
  cols <- info$data$columns
  d <- read.csv(gzfile(file.path("visible", info$data$file)), colClasses = "character", na.strings = "")
  for (v in names(cols)) {
    if (cols[[v]]$type == "factor") {
      lev <- unlist(cols[[v]]$levels); if (is.null(lev)) lev <- sort_levels(d[[v]])
      d[[v]] <- factor(d[[v]], levels = lev, ordered = isTRUE(cols[[v]]$ordered))
    } else if (cols[[v]]$type == "numeric") d[[v]] <- as.numeric(d[[v]])
  }
  for (v in intersect(names(d), c(".imp", ".id"))) d[[v]] <- as.integer(d[[v]])
  list(info = info, data = d)
}
sort_levels <- function(x) { l <- unique(x[!is.na(x)]); if (all(grepl("^[0-9]+$", l))) as.character(sort(as.numeric(l))) else sort(l) }
fit_case <- function(info, d) { d <<- d; eval(mk_call(info$formula, info$reml, info$weights, info$offset, data = quote(d))) }
# columns of [X Z] for new rows; lhs: list of one-sided formulas, one per term of getME(fit, "cnms"), in that order
new_columns <- function(fit, new, lhs, groups, use = rep(TRUE, length(lhs))) {
  X <- model.matrix(delete.response(terms(fit)), new, contrasts.arg = attr(getME(fit, "X"), "contrasts"))
  Zs <- lapply(seq_along(lhs), function(k) {
    m <- model.matrix(lhs[[k]], new); lev <- levels(getME(fit, "flist")[[attr(getME(fit, "flist"), "assign")[k]]])
    at <- match(do.call(paste, c(lapply(groups[[k]], function(g) as.character(new[[g]])), sep = ":")), lev)
    Z <- matrix(0, nrow(new), length(lev) * ncol(m))
    if (use[k]) for (i in which(!is.na(at))) Z[i, (at[i] - 1) * ncol(m) + seq_len(ncol(m))] <- m[i, ]
    Z
  })
  cbind(X, do.call(cbind, Zs))
}
henderson <- function(fit) {               # inverse of the mixed-model equations times sigma^2; V-form where Lambda is singular
  X <- as.matrix(getME(fit, "X")); Z <- as.matrix(getME(fit, "Z")); w <- weights(fit); s2 <- sigma(fit)^2
  G <- s2 * as.matrix(tcrossprod(getME(fit, "Lambda"))); V <- Z %*% G %*% t(Z) + diag(s2 / w); Vi <- solve(V)
  C <- solve(t(X) %*% Vi %*% X); H <- G %*% t(Z) %*% Vi
  rbind(cbind(C, -t(H %*% X %*% C)), cbind(-H %*% X %*% C, G - H %*% Z %*% G + H %*% X %*% C %*% t(X) %*% t(H)))
}
plain_frame <- function(d) as.list(data.frame(lapply(d, function(v) if (is.factor(v)) as.character(v) else v), stringsAsFactors = FALSE))
cases <- list(
  sleepstudy_corr = list(lhs = list(~ 1 + Days), groups = list("Subject"), num = "Days", partial = "~(1|Subject)"),
  sleepstudy_ml = list(lhs = list(~ 1 + Days), groups = list("Subject"), num = "Days", partial = "~(1|Subject)"),
  sleepstudy_weights = list(lhs = list(~ 1 + Days), groups = list("Subject"), num = "Days", partial = "~(0+Days|Subject)"),
  orthodont_sex = list(lhs = list(~ 1 + age), groups = list("Subject"), num = "age", partial = "~(1|Subject)"),
  pastes_nested = list(lhs = list(~ 1, ~ 1), groups = list(c("cask", "batch"), "batch"), num = NULL, partial = "~(1|batch)"),
  oats_splitplot = list(lhs = list(~ 1, ~ 1), groups = list(c("V", "B"), "B"), num = NULL, partial = "~(1|B)"),
  penicillin_crossed = list(lhs = list(~ 1, ~ 1), groups = list("plate", "sample"), num = NULL, partial = "~(1|sample)"),
  machines_3dim = list(lhs = list(~ 1 + Machine), groups = list("Worker"), num = NULL, partial = "~0"),
  dyestuff2_singular = list(lhs = list(~ 1), groups = list("Batch"), num = NULL, partial = "~0"))
set.seed(5)
out <- lapply(names(cases), function(case) {
  say(case); spec <- cases[[case]]; rc <- read_case(case); fit <- fit_case(rc$info, rc$data)
  new <- rc$data[sort(sample(nrow(rc$data), 10)), , drop = FALSE]
  if (case == "penicillin_crossed") new$sample <- sample(new$sample)          # pairs that need not have met
  for (v in spec$num) new[[v]] <- new[[v]] * 1.25 + 0.5
  full <- new_columns(fit, new, spec$lhs, spec$groups); pop <- full; pop[, -(1:length(fixef(fit)))] <- 0
  S <- henderson(fit); se <- function(a) sqrt(pmax(rowSums((a %*% S) * a), 0))
  keep <- seq(1, nrow(rc$data), length.out = min(25, nrow(rc$data)))
  list(case = case, formula = rc$info$formula, newdata = plain_frame(new), fit = I(unname(predict(fit, new, re.form = NULL))),
       population = I(unname(predict(fit, new, re.form = NA))), partial_formula = spec$partial,
       partial = I(unname(predict(fit, new, re.form = as.formula(spec$partial)))),
       se_group = I(unname(se(full))), se_population = I(unname(se(pop))), sigma = sigma(fit),
       hat = I(unname(hatvalues(fit))[keep]), hat_sum = sum(hatvalues(fit)), cooks = I(unname(cooks.distance(fit))[keep]),
       pearson = I(unname(residuals(fit, "pearson"))[keep]), scaled = I(unname(residuals(fit, "pearson", scaled = TRUE))[keep]),
       response = I(unname(residuals(fit, "response"))[keep]), rows = I(as.integer(keep) - 1L))
})
names(out) <- names(cases)
# offset in the formula: predict() evaluates it on new data
rc <- read_case("sleepstudy_offset"); d <- rc$data
fit <- eval(mk_call("Reaction ~ Days + offset(off) + (1 + Days | Subject)", TRUE, data = quote(d)))
new <- d[c(3, 50, 171), ]; new$off <- new$off + 7
out$offset_formula <- list(formula = "Reaction ~ Days + offset(off) + (1 + Days | Subject)", newdata = plain_frame(new), fit = I(unname(predict(fit, new))))
# new levels: population mean
new <- d[c(1, 2), ]; new$Subject <- "nobody"
out$new_levels <- list(newdata = plain_frame(new), fit = I(unname(predict(fit, new, allow.new.levels = TRUE))))
writeLines(tojson(c(list(versions = VERSIONS[c("R", "lme4", "Matrix")]), out)), "predict/lme4.json")

pooled_case <- function(case, lhs, groups, rows, imputed = FALSE) {
  say(case); rc <- read_case(case); K <- rc$info$data$n_imp; est <- v <- s2 <- NULL; news <- list()
  for (k in seq_len(K)) {
    d1 <- droplevels(rc$data[rc$data$.imp == k, ]); fit <- fit_case(rc$info, d1)
    if (k == 1 || imputed) new <- d1[rows, ]
    news[[k]] <- plain_frame(new[setdiff(names(new), c(".imp", ".id"))])
    a <- new_columns(fit, new, lhs, groups); X <- getME(fit, "X"); Z <- getME(fit, "Z"); Lt <- getME(fit, "Lambdat")
    # Henderson's equations in the spherical coordinates of lme4 (Bates et al. 2015, eq. 17): sparse, safe where Lambda is singular
    A <- rbind(cbind(crossprod(X), crossprod(X, Z %*% t(Lt))), cbind(Lt %*% crossprod(Z, X), Lt %*% crossprod(Z) %*% t(Lt) + Diagonal(ncol(Z))))
    p <- ncol(X); au <- cbind(a[, 1:p], as.matrix(a[, -(1:p)] %*% t(Lt)))
    est <- rbind(est, unname(predict(fit, new, re.form = NULL))); v <- rbind(v, rowSums(au * t(as.matrix(solve(A, t(au))))) * sigma(fit)^2)
    s2 <- c(s2, sigma(fit)^2)
  }
  rub <- function(u, dfcom) {
    q <- colMeans(est); ub <- colMeans(u); b <- apply(est, 2, var); t <- ub + (1 + 1 / K) * b; lam <- (1 + 1 / K) * b / t
    old <- (K - 1) / lam^2; df <- if (is.infinite(dfcom)) old else { obs <- (dfcom + 1) / (dfcom + 3) * dfcom * (1 - lam); 1 / (1 / old + 1 / obs) }
    list(estimate = I(q), se = I(sqrt(t)), df = I(df), low = I(q - qt(.975, df) * sqrt(t)), high = I(q + qt(.975, df) * sqrt(t)))
  }
  list(case = case, newdata = if (imputed) news else news[[1]], imputed = imputed, estimates = est, variances = v, sigma2 = I(s2),
       confidence_inf = rub(v, Inf), prediction_inf = rub(v + s2, Inf), confidence_100 = rub(v, 100), prediction_100 = rub(v + s2, 100))
}
set.seed(6)
pooled <- list(
  studentratings_k5 = pooled_case("studentratings_k5", list(~ 1), list("ID"), c(1, 40, 333, 600, 750)),
  studentratings_imputed = pooled_case("studentratings_k5", list(~ 1), list("ID"), c(2, 41, 334, 601, 749), imputed = TRUE),
  hsb = pooled_case("hsb_vignette", list(~ 1 + ses), list("schid"), c(1, 900, 4000, 7185)),
  star_crossed_k5 = pooled_case("star_crossed_k5", list(~ 1, ~ 1), list("id", "tch"), c(1, 900, 4000)))
writeLines(tojson(pooled), "predict/pooled.json")
