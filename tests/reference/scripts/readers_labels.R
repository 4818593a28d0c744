# Value labels whose order is neither that of the alphabet nor that of their definition -> readers/labels.sav, labels.dta
# Run in tests/reference: Rscript scripts/readers_labels.R   (R 4.2.2, haven 2.5.1)
library(haven)
set.seed(1)
n <- 20
k <- sample(1:3, n, TRUE)
y <- round(rnorm(n) + rep(c(0, 2, 4, 6), each = 5), 2)
one <- function(m) {
  drawn <- k
  drawn[c(2, 7)] <- if (m == 0) NA else c(m, 3)
  data.frame(Imputation_ = m, school = rep(1:4, each = 5), y = y, k = drawn, part = drawn, far = drawn, twice = drawn, word = c("a", "b", "c")[k])
}
d <- do.call(rbind, lapply(0:2, one))
d$Imputation_ <- labelled(d$Imputation_, c("Original data" = 0))
d$k <- labelled(d$k, c(none = 1, some = 3, much = 2))
d$part <- labelled(d$part, c(zero = 1, some = 3))
d$far <- labelled_spss(ifelse(is.na(d$far), 9, d$far), c(unused = 0, zeta = 1, beta = 2, alpha = 3, refused = 9), na_values = 9)
d$twice <- labelled(d$twice, c(low = 1, high = 3, low = 2))
d$word <- labelled(d$word, c(zz = "a", yy = "b", xx = "c"))
print(lapply(zap_missing(d[c("k", "part")]), function(v) levels(as_factor(v))))  # none much some; zero 2 some
write_sav(d, "readers/labels.sav")
d$`_mi_id` <- rep(1:n, 3); d$word <- NULL
d$far <- zap_missing(d$far); d$Imputation_ <- zap_labels(d$Imputation_)
names(d)[1] <- "_mi_m"
write_dta(d, "readers/labels.dta", version = 14)
