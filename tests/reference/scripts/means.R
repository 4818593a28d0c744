# Marginal means and comparisons of models on unbalanced data -> tests/reference/inference/means.json and means.csv.gz
# Run in tests/reference: Rscript scripts/means.R
# lme4 1.1-31, lmerTest 3.1-3, emmeans 1.8.4-1, mvtnorm 1.1-3 (versions in the file).
suppressPackageStartupMessages({ library(lme4); library(lmerTest); library(emmeans) })
control <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10))
emm_options(lmer.df = "satterthwaite")
set.seed(20260)
n <- 160
g <- rep(1:16, each = 10)
d <- data.frame(g = sprintf("s%02d", g), k = sample(c("a", "b", "c"), n, TRUE, c(.5, .3, .2)), m = sample(c("u", "v"), n, TRUE, c(.6, .4)),
  h = sample(c("p", "q", "r"), n, TRUE, c(.2, .3, .5)), arm = sample(c("active", "control", "high", "low"), n, TRUE, c(.3, .4, .15, .15)),
  x = round(rnorm(n), 3), o = round(rexp(n) + 1, 3), w = round(runif(n, .5, 2), 2))
d$y <- round(with(d, exp(1 + .3 * (k == "b") - .2 * (m == "v") + .2 * x + .4 * (arm == "high") + rnorm(16, 0, .3)[rep(1:16, each = 10)] + rnorm(n, 0, .4))), 4)
# two imputations of x and o
sets <- list(d, transform(d, x = ifelse(seq_len(n) %% 4 == 0, round(rnorm(n), 3), x), o = ifelse(seq_len(n) %% 5 == 0, round(rexp(n) + 1, 3), o)))
con <- gzfile("inference/means.csv.gz", "wb", compression = 9)
write.csv(do.call(rbind, lapply(1:2, function(i) cbind(.imp = i, sets[[i]]))), con, row.names = FALSE, quote = FALSE); close(con)

plain <- function(t) { t <- as.data.frame(t); lapply(t, function(v) if (is.numeric(v)) I(v) else I(as.character(v))) }
# the call has to name data of the global environment, which emmeans looks up again
fit <- function(formula, data, ...) eval(as.call(list(quote(lmerTest::lmer), as.formula(formula, env = globalenv()), data = as.name(data), control = control, ...)), globalenv())
out <- list(versions = c(R = paste(R.version$major, R.version$minor, sep = "."), sapply(c("lme4", "lmerTest", "emmeans", "mvtnorm"), function(p) as.character(packageVersion(p)))))

# no rows with k = c and m = v
gone <- d[!(d$k == "c" & d$m == "v"), ]
empty <- fit("y ~ k * m + x + (1 | g)", "gone")
pairs_of <- function(e, ...) plain(summary(pairs(e), ...))
out$empty <- list(formula = "y ~ k * m + x + (1 | g)", cells = plain(emmeans(empty, ~ k * m)), cells_pairs = pairs_of(emmeans(empty, ~ k * m), adjust = "none"),
  k = plain(emmeans(empty, "k")), k_pairs = pairs_of(emmeans(empty, "k"), adjust = "none"), by_m = plain(emmeans(empty, ~ k | m)),
  anova = plain(cbind(term = rownames(anova(empty)), anova(empty))), joint = plain(joint_tests(empty)))

# offsets; the covariate at its mean over both imputations, the offset at its mean in each
d1 <- sets[[1]]; d2 <- sets[[2]]; at <- list(x = mean(c(d1$x, d2$x)))
offset_of <- function(formula, ...) lapply(c("d1", "d2"), function(name) { f <- fit(formula, name, ...); list(means = plain(emmeans(f, "arm", at = at)), pairs = pairs_of(emmeans(f, "arm", at = at), adjust = "none")) })
out$offset <- list(formula = offset_of("y ~ arm + x + offset(o) + (1 | g)"), argument = offset_of("y ~ arm + x + (1 | g)", offset = quote(o)),
  log = offset_of("y ~ arm + x + offset(log(o)) + (1 | g)"), both = offset_of("y ~ arm + x + offset(o) + (1 | g)", offset = quote(w)))

# weights by how often the categories occur together
several <- fit("y ~ k * m + h + x + (1 | g)", "d"); weighted <- fit("y ~ k * m + h + x + (1 | g)", "d", weights = quote(w))
out$proportional <- list(formula = "y ~ k * m + h + x + (1 | g)", k = plain(emmeans(several, "k", weights = "proportional")), m_by_h = plain(emmeans(several, ~ m | h, weights = "proportional")),
  k_pairs = pairs_of(emmeans(several, "k", weights = "proportional"), adjust = "none"), equal = plain(emmeans(several, "k")), k_prior = plain(emmeans(weighted, "k", weights = "proportional")),
  k_at = plain(emmeans(several, "k", weights = "proportional", at = list(h = c("p", "q")))), x = plain(emmeans(several, "x", at = list(x = 0:1), weights = "proportional")))

# responses on their own scale
response_of <- function(response) { f <- fit(paste(response, "~ arm + x + (1 | g)"), "d"); plain(summary(emmeans(f, "arm"), type = "response")) }
out$response <- sapply(c("log(y)", "log10(y)", "log2(y)", "log1p(y)", "sqrt(y)", "log(y + 1)"), response_of, simplify = FALSE)

# each treatment against the control
arm <- fit("y ~ arm + x + (1 | g)", "d"); e <- emmeans(arm, "arm")
versus <- contrast(e, "trt.vs.ctrl", ref = "control"); s <- summary(versus, adjust = "none")
corr <- cov2cor(vcov(versus)); set.seed(1)
mvt <- function(df) sapply(abs(s$t.ratio), function(t) 1 - mvtnorm::pmvt(rep(-t, 3), rep(t, 3), df = df, corr = corr, algorithm = mvtnorm::GenzBretz(maxpts = 5e6, abseps = 1e-7)))
out$control <- list(table = plain(s), reverse = plain(summary(contrast(e, "trt.vs.ctrl", ref = "control", reverse = TRUE), adjust = "none")), mvt = mvt(40), normal = mvt(0), emmeans = plain(summary(versus, adjust = "mvt"))$p.value)
by_m <- fit("y ~ arm * m + x + (1 | g)", "d")
out$control$by_m <- plain(summary(contrast(emmeans(by_m, ~ arm | m), "trt.vs.ctrl", ref = "control"), adjust = "none"))

# a sequence of models
formulas <- c("y ~ 1 + (1 | g)", "y ~ arm + (1 | g)", "y ~ arm + x + (1 | g)", "y ~ arm + x + (1 + x | g)")
models <- lapply(formulas, fit, "d")
out$sequence <- list(formulas = formulas, anova = plain(suppressMessages(anova(models[[1]], models[[2]], models[[3]], models[[4]]))))

jsonlite::write_json(out, "inference/means.json", digits = NA, auto_unbox = TRUE, na = "null")
