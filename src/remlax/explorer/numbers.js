"use strict";
// Predictions and their limits, without the page.
const remlaxNumbers = (function () {
  const NORMAL = 1.959963984540054; // 97.5 percent
  const inverse = {
    identity: (eta) => eta,
    log: Math.exp,
    logit: (eta) => 1 / (1 + Math.exp(-eta)),
    probit: (eta) => normal(eta),
    cloglog: (eta) => -Math.expm1(-Math.exp(eta)),
  };
  const polynomial = (coefficients, at) => coefficients.reduce((sum, value) => sum * at + value, 0);

  function normal(x) { // Hart's algorithm, as of West (2005), Wilmott Magazine, May, 70
    const size = Math.abs(x);
    if (size > 37) return x > 0 ? 1 : 0;
    const power = Math.exp(-size * size / 2);
    let tail;
    if (size < 7.07106781186547) {
      const top = [3.52624965998911e-2, 0.700383064443688, 6.37396220353165, 33.912866078383, 112.079291497871, 221.213596169931, 220.206867912376];
      const low = [8.83883476483184e-2, 1.75566716318264, 16.064177579207, 86.7807322029461, 296.564248779674, 637.333633378831, 793.826512519948, 440.413735824752];
      tail = power * polynomial(top, size) / polynomial(low, size);
    } else tail = power / (size + 1 / (size + 2 / (size + 3 / (size + 4 / (size + 0.65))))) / 2.506628274631;
    return x > 0 ? 1 - tail : tail;
  }

  function logGamma(x) { // Lanczos (1964), g = 7
    const c = [676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059, 12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7];
    const t = x + 6.5, sum = c.reduce((total, value, i) => total + value / (x + i), 0.99999999999980993);
    return 0.91893853320467274 + (x - 0.5) * Math.log(t) - t + Math.log(sum);
  }
  function betaFraction(x, a, b) { // Lentz's continued fraction of the incomplete beta function
    const tiny = 1e-300, bound = (value) => (Math.abs(value) < tiny ? tiny : value);
    let c = 1, d = 1 / bound(1 - (a + b) * x / (a + 1)), out = d;
    for (let m = 1; m < 500; m++) {
      for (const step of [m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)), -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))]) {
        d = 1 / bound(1 + step * d);
        c = bound(1 + step / c);
        out *= c * d;
      }
      if (Math.abs(c * d - 1) < 1e-15) break;
    }
    return out;
  }
  function tTail(t, df) { // probability above t > 0
    const x = df / (df + t * t), a = df / 2, b = 0.5;
    const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x));
    return (x < (a + 1) / (a + b + 2) ? front * betaFraction(x, a, b) / a : 1 - front * betaFraction(1 - x, b, a) / b) / 2;
  }
  function tQuantile(df) { // 97.5 percent of Student's t
    if (!(df < Infinity)) return NORMAL;
    if (df >= 200) { // Abramowitz and Stegun (1964), 26.7.5
      const z = NORMAL, s = z * z;
      const terms = [[1, 1, 4], [5, 16, 3, 96], [3, 19, 17, -15, 384], [79, 776, 1482, -1920, -945, 92160]];
      return terms.reduce((sum, own, i) => sum + z * polynomial(own.slice(0, -1), s) / own[own.length - 1] / df ** (i + 1), z);
    }
    let low = 1, high = 4;
    while (tTail(high, df) > 0.025 && high < 1e300) { low = high; high *= 4; }
    for (let i = 0; i < 200 && high - low > 1e-14 * high; i++) {
      const middle = Math.sqrt(low * high);
      if (tTail(middle, df) > 0.025) low = middle; else high = middle;
    }
    return Math.sqrt(low * high);
  }

  // one estimate of several fits by Rubin's rules, degrees of freedom by Barnard and Rubin (1999)
  function pooled(estimates, variances, dfs, dfcom) {
    const m = estimates.length, mean = (values) => values.reduce((sum, v) => sum + v, 0) / m;
    const estimate = mean(estimates), complete = dfcom === null ? mean(dfs) : dfcom === "inf" ? Infinity : dfcom;
    if (m === 1) return { estimate: estimate, variance: variances[0], df: complete };
    const within = mean(variances), between = (1 + 1 / m) * estimates.reduce((sum, v) => sum + (v - estimate) ** 2, 0) / (m - 1);
    const total = within + between, lambda = total > 0 ? between / total : 0;
    const observed = complete === Infinity ? 0 : (1 + 2 / (complete + 1)) / complete / (1 - lambda);
    return { estimate: estimate, variance: total, df: 1 / (lambda * lambda / (m - 1) + observed) };
  }

  // model: what the page has of it; gives a function of the positions of the controls, the level of every grouping
  // factor (-1 for an average one), and what is predicted: "mean", "observation", or "new", one in new groups
  function predictor(model) {
    const limits = model.limits;
    const value = (column, at) => column.values[column.of.reduce((place, variable) => place * model.controls[variable].values.length + at[variable], 0)];
    const centred = (block, columns) => columns.map((v, j) => (block.constant < 0 || j === block.constant ? v : v - block.centre[j] * columns[block.constant]));
    const form = (triangle, c) => {
      let sum = 0, place = 0;
      for (let i = 0; i < c.length; i++) for (let j = 0; j <= i; j++) sum += (i === j ? 1 : 2) * c[i] * c[j] * triangle[place++];
      return sum;
    };
    const dot = (a, b) => a.reduce((sum, v, j) => sum + v * b[j], 0);
    const withLevel = (own, x, z) => { // cross products, then the triangle
      let sum = 0, place = 0;
      x.forEach((a) => z.forEach((b) => { sum += 2 * a * b * own[place++]; }));
      return sum + form(own.slice(place), z);
    };
    function errors(x, z, chosen, kind) {
      return limits.beta.map((_, k) => {
        const parts = limits.blocks[0].forms[k].map((own) => form(own, x));
        const add = (other) => other.forEach((v, i) => { parts[i] += v; });
        if (chosen) add(limits.levels[chosen[0]].forms[chosen[1]][k].map((own) => withLevel(own, x, z[chosen[0]])));
        else if (kind === "new") z.forEach((own, g) => add(limits.blocks[1 + g].forms[k].map((triangle) => form(triangle, own))));
        if (kind !== "mean") { parts[0] += limits.residual[k]; parts[parts.length - 1] += 2 * limits.residual[k]; }
        return parts;
      });
    }
    function df(parts, k) { // 2 v^2 / (g' A g)
      if (!limits.parameters) return Infinity;
      const relative = parts.slice(1).map((g) => g / parts[0]), a = limits.parameters[k];
      const found = 2 / relative.reduce((sum, g, i) => sum + g * dot(a[i], relative), 0);
      return Number.isNaN(found) ? Infinity : found;
    }
    return function (at, groups, kind) {
      const x = model.columns.map((column) => value(column, at)), z = model.groups.map((group) => group.columns.map((column) => value(column, at)));
      const undetermined = model.ties.some((tie) => {
        const own = value(tie.column, at) / tie.size, parts = x.map((v, j) => v * tie.weights[j]);
        const made = parts.reduce((sum, v) => sum + v, 0), size = parts.reduce((sum, v) => sum + Math.abs(v), 1 + Math.abs(own));
        return Math.abs(own - made) > 1e-6 * size;
      });
      if (undetermined) return { eta: null, error: null, df: null, mean: null, limits: null, undetermined: true };
      const shift = model.offset.reduce((sum, column) => sum + value(column, at), 0);
      const known = groups.map((level, g) => [g, level]).filter((pair) => pair[1] >= 0), back = inverse[model.link];
      const eta = shift + dot(x, model.beta) + known.reduce((sum, [g, level]) => sum + z[g].reduce((own, v, j) => own + v * model.groups[g].modes[j][level], 0), 0);
      const can = known.length === 0 || (known.length === 1 && limits.levels[known[0][0]] && kind !== "new");
      if (!can) return { eta: eta, error: null, df: null, mean: back(eta), limits: null };
      const chosen = known.length ? known[0] : null;
      const parts = errors(centred(limits.blocks[0], x), z.map((own, g) => centred(limits.blocks[1 + g], own)), chosen, kind);
      const estimates = limits.beta.map((own, k) => shift + dot(x, own) + (chosen ? dot(z[chosen[0]], limits.levels[chosen[0]].modes[chosen[1]][k]) : 0));
      const found = pooled(estimates, parts.map((own) => Math.max(own[0], 0)), parts.map(df), limits.dfcom);
      const error = Math.sqrt(found.variance), half = tQuantile(found.df) * error;
      return { eta: eta, error: error, df: found.df, mean: back(eta), limits: [back(eta - half), back(eta + half)] };
    };
  }
  return { normal, tQuantile, pooled, predictor };
})();
if (typeof module !== "undefined") module.exports = remlaxNumbers;
