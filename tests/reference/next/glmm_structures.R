# Generalised models with covariance structures: R 4.2.2, glmmTMB 1.1.5 (Laplace approximation).
# Rscript tests/reference/next/glmm_structures.R FOLDER writes glmm_structures.csv.gz (simulated) and .json there.
suppressMessages(library(glmmTMB))
folder <- commandArgs(trailingOnly = TRUE)[1]
set.seed(21)
groups <- 24; visits <- 3; each <- 3
sd <- c(0.6, 0.9, 1.2)
effects <- matrix(rnorm(groups * visits), groups) %*% chol(outer(sd, sd) * 0.7^abs(outer(1:visits, 1:visits, "-")))
data <- expand.grid(row = 1:each, t = 1:visits, g = 1:groups)
data$x <- signif(rnorm(nrow(data)), 8)
eta <- 0.4 * data$x + effects[cbind(data$g, data$t)]
data$c <- rpois(nrow(data), exp(0.5 + eta))
data$n <- 6
data$z <- rbinom(nrow(data), 6, plogis(eta))
data$t <- paste0("t", data$t); data$g <- sprintf("g%02d", data$g); data$row <- NULL
file <- gzfile(file.path(folder, "glmm_structures.csv.gz"), "w")
write.csv(data, file, row.names = FALSE); close(file)
data$t <- factor(data$t)
array <- function(x) paste0("[", paste(trimws(formatC(as.vector(x), digits = 15, format = "g")), collapse = ", "), "]")
terms <- list(c("ar1", "hom = TRUE", "poisson"), c("cs", "hom = FALSE", "poisson"), c("diag", "hom = FALSE", "poisson"),
              c("ar1", "hom = TRUE", "binomial"))
control <- glmmTMBControl(optCtrl = list(rel.tol = 1e-15, x.tol = 1e-12, iter.max = 1000, eval.max = 1000))
written <- character()
for (own in terms) {
  left <- if (own[3] == "poisson") "c" else "cbind(z, n - z)"
  f <- glmmTMB(as.formula(sprintf("%s ~ x + %s(0 + t | g)", left, own[1])), data, own[3], control = control)
  written <- c(written, sprintf(
    '{"response": "%s", "term": "%s(0 + t | g, %s)", "family": "%s",\n "criterion": %s, "fixef": %s, "se": %s,\n "covariance": %s}',
    left, own[1], own[2], own[3], formatC(-2 * as.numeric(logLik(f)), digits = 15, format = "g"), array(fixef(f)$cond),
    array(sqrt(diag(vcov(f)$cond))), array(VarCorr(f)$cond$g[1:visits, 1:visits])))
}
cat("[\n", paste(written, collapse = ",\n"), "\n]\n", sep = "", file = file.path(folder, "glmm_structures.json"))
