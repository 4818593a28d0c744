# Amelia without bootstrap on three data sets, with and without observation priors, and the spread of 200 bootstrapped
# imputations of hsb -> impute/amelia_em.json, impute/amelia_mar.csv, impute/amelia_sparse.csv, impute/amelia_hsb_spread.json
# Run in tests/reference: Rscript scripts/impute_amelia.R   (about 3 minutes)
suppressMessages(library(Amelia))
js <- function(x, f) writeLines(jsonlite::toJSON(x, digits = NA, auto_unbox = TRUE, matrix = "rowmajor"), f)

hsb <- read.csv(gzfile("visible/hsb_vignette.csv.gz"))
hsb <- hsb[hsb$.imp == 0, !(names(hsb) %in% c(".imp", ".id"))]

# Six correlated columns, one of them log-normal, a third of the cells missing at random given the first
set.seed(101)
n <- 250
z <- matrix(rnorm(n * 6), n) %*% chol(0.5 + 0.5 * diag(6))
mar <- data.frame(a = 10 + 2 * z[, 1], b = z[, 2] - 3, c = 100 * z[, 3], d = exp(z[, 4]), e = z[, 5], f = 5 + z[, 6])
for (v in c("b", "c", "d", "f")) mar[[v]][runif(n) < plogis(-1 + 0.8 * z[, 1])] <- NA
mar$e[runif(n) < 0.1] <- NA
mar[] <- lapply(mar, signif, 8)
write.csv(mar, "impute/amelia_mar.csv", row.names = FALSE, na = "")

# Fewer complete rows than columns: EM starts from zero means and the identity
set.seed(102)
n <- 80
z <- matrix(rnorm(n * 5), n) %*% chol(0.3 + 0.7 * diag(5))
sparse <- data.frame(z); names(sparse) <- letters[1:5]
for (i in seq_len(n)) sparse[i, sample(5, if (i <= 4) 0 else sample(1:3, 1))] <- NA
sparse[] <- lapply(sparse, signif, 8)
write.csv(sparse, "impute/amelia_sparse.csv", row.names = FALSE, na = "")

# Means and covariances in the units of the (transformed) columns. Amelia keeps them standardised and in the order of
# rising missing counts, while the names it puts on them are in the order of the data.
em <- function(x, idvars = NULL, logs = NULL, tol = 1e-4, priors = NULL) {
  set.seed(1)
  a <- amelia(x, m = 1, idvars = idvars, logs = logs, tolerance = tol, priors = priors, boot.type = "none", autopri = 0, p2s = 0)
  y <- x[, setdiff(names(x), idvars)]
  for (v in logs) y[[v]] <- log(y[[v]] - min(0, min(y[[v]], na.rm = TRUE)) + 1)
  back <- order(order(colSums(is.na(y))))
  s <- sapply(y, sd, na.rm = TRUE); mu <- a$mu[back, 1] * s + colMeans(y, na.rm = TRUE)
  cv <- a$covMatrices[back, back, 1] * outer(s, s)
  list(columns = names(y), tolerance = tol, iterations = nrow(a$iterHist[[1]]), mean = unname(mu), cov = unname(cv))
}
out <- list(
  hsb = list(em(hsb, idvars = c("schid", "meanses")), em(hsb, idvars = c("schid", "meanses"), tol = 1e-10)),
  mar = list(em(mar, logs = "d"), em(mar, logs = "d", tol = 1e-10)),
  sparse = list(em(sparse), em(sparse, tol = 1e-10)))
# observation priors: some cells of column b, and all missing cells of column f (row 0)
rows <- which(is.na(mar$b))[1:5]
pr <- rbind(cbind(rows, 2, -3 + (1:5) / 2, c(0.1, 0.5, 1, 0.2, 2)), c(0, 6, 7, 0.8))
out$mar_priors <- c(em(mar, logs = "d", tol = 1e-10, priors = pr), list(priors = unname(pr)))
js(out, "impute/amelia_em.json")

# Spread: 200 imputations with the bootstrap
set.seed(7)
m <- 200
a <- amelia(hsb, m = m, idvars = c("schid", "meanses"), noms = c("minority", "female"), p2s = 0)
co <- t(sapply(a$imputations, function(d) coef(lm(mathach ~ minority + female + ses + size + schtype, d))))
se <- t(sapply(a$imputations, function(d) sqrt(diag(vcov(lm(mathach ~ minority + female + ses + size + schtype, d))))))
cells <- sapply(c("minority", "female", "ses", "size"), function(v) {
  w <- is.na(hsb[[v]])
  t(sapply(a$imputations, function(d) c(mean(d[[v]][w]), sd(d[[v]][w]), cor(d[[v]][w], d$mathach[w]))))
}, simplify = FALSE)
js(list(m = m, terms = colnames(co), coef_mean = colMeans(co), coef_sd = apply(co, 2, sd), se_mean = colMeans(se),
  cells = lapply(cells, function(k) list(mean = colMeans(k), sd = apply(k, 2, sd))),
  chain_lengths = as.list(table(sapply(a$iterHist, nrow)))), "impute/amelia_hsb_spread.json")
