# Imputations of one small data set in the files that R packages write -> readers/
# Run in tests/reference: Rscript scripts/readers.R   (a few seconds)
suppressMessages({library(mice); library(Amelia); library(mitml); library(jomo)})
dir.create("readers", showWarnings = FALSE)
out <- function(name) file.path("readers", name)
long <- function(sets, original) {
  sets <- c(list(original), unname(sets))
  do.call(rbind, lapply(seq_along(sets), function(k) {
    d <- as.data.frame(sets[[k]])[names(original)]
    data.frame(.imp = k - 1L, .id = seq_len(nrow(d)), lapply(d, function(v) if (is.factor(v)) as.character(v) else v), check.names = FALSE)
  }))
}
keep <- function(x, name) write.csv(format(x, digits = 15, trim = TRUE), out(name), row.names = FALSE, quote = FALSE)
csv <- function(x, name) write.csv(x, out(name), row.names = FALSE, na = "")

set.seed(11)
n <- 30
d <- data.frame(school = rep(1:6, each = 5), y = round(rnorm(n, 50, 10), 2))
d$x <- round(0.05 * d$y + rnorm(n), 3)
d$kind <- factor(sample(c("none", "some", "much"), n, TRUE), levels = c("none", "some", "much"))
d$flag <- rbinom(n, 1, 0.4)
d$x[c(2, 9, 16, 23)] <- NA
d$kind[c(4, 9, 27)] <- NA
d$flag[c(1, 16, 30)] <- NA
csv(d, "original.csv")

# mice: long, with and without the original, as csv and rds; the mids as it is and as rdata can read it
m <- mice(d, m = 3, maxit = 2, seed = 1, printFlag = FALSE)
all <- complete(m, "long", include = TRUE)
csv(all, "mice_long.csv"); csv(complete(m, "long"), "mice_long_imputed_only.csv")
csv(transform(all, kind = as.character(kind)), "expected_mice.csv")
saveRDS(all, out("mice_long.rds")); saveRDS(m, out("mice_mids.rds"))
bare <- m; bare$formulas <- NULL
saveRDS(bare, out("mice_mids_without_formulas.rds"))
save(all, file = out("mice_long.RData"))

# Amelia: one csv for each set, all in one csv, Stata, and the object itself; 11 sets so that 10 comes after 9
set.seed(2)
a <- amelia(d, m = 11, noms = c("kind", "flag"), idvars = "school", p2s = 0)
csv(long(a$imputations, d), "expected_amelia.csv")
write.amelia(a, file.stem = out("amelia_set"), na = "")
write.amelia(a, file.stem = out("amelia_stacked"), separate = FALSE, row.names = FALSE, na = "")
library(foreign)
write.amelia(a, file.stem = out("amelia"), separate = FALSE, format = "dta")
saveRDS(a, out("amelia.rds"))

# pan and jomo, by mitml and by themselves
num <- transform(d, kind = NULL)[c(seq(1, n, 2), seq(2, n, 2)), ]  # schools apart, so that pan must sort
row.names(num) <- NULL
p <- panImpute(num, formula = x + flag ~ 1 + y + (1 | school), n.burn = 50, n.iter = 10, m = 3, seed = 1, silent = TRUE)
saveRDS(p, out("mitml.rds"))
sets <- mitmlComplete(p, "all")
saveRDS(sets, out("mitml_list.rds"))
csv(long(sets, num), "expected_mitml.csv")
jm <- transform(d, school = NULL)
jm$school <- d$school
capture.output(q <- jomoImpute(jm, formula = x + kind ~ 1 + y + (1 | school), n.burn = 20, n.iter = 10, m = 2, seed = 1, silent = TRUE)) -> ignored
saveRDS(q, out("mitml_jomo.rds"))
csv(long(mitmlComplete(q, "all"), jm), "expected_mitml_jomo.csv")
write.mitmlSAV(p, filename = out("mitml_spss"))
invisible(capture.output(j <- jomo(Y = data.frame(x = d$x, kind = d$kind), X = data.frame(one = 1, y = d$y), clus = data.frame(school = d$school),
          nburn = 20, nbetween = 10, nimp = 3)))
saveRDS(j, out("jomo.rds"))
csv(j, "jomo.csv")

# Stata's four styles of mi data
stata <- transform(long(complete(m, "all"), d), kind = match(kind, c("none", "some", "much")))
names(stata)[1:2] <- c("_mi_m", "_mi_id")
gap <- !complete.cases(d)
stata$`_mi_miss` <- ifelse(stata$`_mi_m` == 0, as.integer(gap)[stata$`_mi_id`], NA)
dta <- function(x, name) haven::write_dta(x, out(name), version = 14)
dta(stata, "stata_flong.dta")
dta(stata[stata$`_mi_m` == 0 | gap[stata$`_mi_id`], ], "stata_mlong.dta")
one <- function(k) stata[stata$`_mi_m` == k, ]
wide <- one(0)[c("school", "y", "x", "kind", "flag", "_mi_miss")]
for (k in 1:3) for (v in c("x", "kind", "flag")) wide[[sprintf("_%d_%s", k, v)]] <- one(k)[[v]]
dta(wide, "stata_wide.dta")
dta(one(0)[c("school", "y", "x", "kind", "flag", "_mi_id", "_mi_miss")], "stata_sep.dta")
for (k in 1:3) dta(one(k)[c("school", "y", "x", "kind", "flag", "_mi_id")], sprintf("_%d_stata_sep.dta", k))

# SAS: PROC MI stacks the imputations under _Imputation_; SPSS: Imputation_ with the original as 0
sas <- stata[stata$`_mi_m` > 0, c("_mi_m", "school", "y", "x", "kind", "flag")]; names(sas)[1] <- "_Imputation_"
csv(sas, "sas_mi.csv")
haven::write_xpt(sas, out("sas_mi.xpt"), version = 8)
spss <- stata[c("_mi_m", "school", "y", "x", "kind", "flag")]; names(spss)[1] <- "Imputation_"
spss$kind <- haven::labelled(spss$kind, c(none = 1, some = 2, much = 3))
haven::write_sav(spss, out("spss_mi.sav"))
