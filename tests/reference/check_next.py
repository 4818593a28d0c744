"""Fit every case of tests/reference/next through remlax's public API; worst difference per quantity.

usage: python check_next.py DIR [--only NAME ...] [--block glmm ...] [--json OUT] [--verbose]
A public name, argument or method that does not exist yet counts as its block (or quantity) 'missing', not as a failure.
Exit status: 0 nothing over its bar and nothing raised; 1 something over its bar or raised; 2 nothing could be run at all.
Only the bars below are judged; each is on a relative or a standard-error scale, as README.md says.
"""
import argparse, glob, json, math, os, sys, traceback, warnings
import numpy as np, pandas as pd

BARS = dict(deviance_at=1e-9, deviance_at_lme4=1e-7, deviance_opt=1e-7, loglik=1e-8, aic=1e-8, theta=1e-5, fixef=1e-5, se_hessian=1e-5, se_rx=1e-5, size=1e-4, ranef=1e-5, cond_var=1e-5,
            singular=0.5, pooled_est=1e-5, pooled_se=1e-5, pooled_df=1e-3, fmi=1e-3, D1=1e-4, D2=1e-4, D3=1e-4, D4=1e-4, criterion_opt=1e-6, criterion_at=1e-9, sigma=1e-5, sd=1e-4, cov=1e-4, se=1e-5, df=1e-3,
            kr_se=1e-5, kr_df=1e-3, sas_kr_se=3e-4, sas_kr_df=1e-3, sas_est=1e-4, means=1e-5, means_se=1e-5, means_df=1e-3, objective_opt=1e-6, estimate=1e-5, statistic=1e-4, log_p=1e-3, s2_prior=1e-4, df_prior=1e-3, s2_post=1e-4, moderated=1e-4)


class Missing(Exception):
    """A public name that is not there."""


def get(obj, name):
    if not hasattr(obj, name):
        raise Missing(f"{getattr(obj, '__name__', type(obj).__name__)}.{name}")
    return getattr(obj, name)


def val(obj, name):
    x = get(obj, name)
    return x() if callable(x) else x


def attempt(f, *a, **k):
    """Call; an argument or value that the library does not know yet is Missing. Other errors stay errors."""
    try:
        return f(*a, **k)
    except NotImplementedError as e:
        raise Missing(str(e)[:150])
    except TypeError as e:  # UnknownArgumentError of remlax is a TypeError too
        if any(w in str(e) for w in ("unexpected keyword", "positional argument", "has no argument", "no argument")):
            raise Missing(str(e)[:150])
        raise


def rel(a, b, floor=1e-8):
    a, b = np.asarray(a, float), np.asarray(b, float)
    if a.shape != b.shape:
        return math.inf
    return float(np.max(np.abs(a - b) / np.maximum(np.abs(b), floor))) if a.size else 0.0


def norm(name):
    s = str(name).replace("[T.", "").replace("]", "").replace("(Intercept)", "Intercept").replace(" ", "").replace("**", "^").replace("[", "")
    return ":".join(sorted(s.split(":")))


def order(ours, theirs):
    a = {norm(n): i for i, n in enumerate(ours)}
    try:
        return [a[norm(n)] for n in theirs]
    except KeyError:
        if len(ours) != len(theirs):
            raise AssertionError(f"terms differ: {list(ours)} against {list(theirs)}")
        return list(range(len(theirs)))


def frame(path, columns):
    text = {c: "str" for c, v in columns.items() if v["type"] in ("character", "factor")}
    df = pd.read_csv(path, dtype=text, float_precision="round_trip")
    for c, v in columns.items():
        if v["type"] == "factor" and v.get("levels") and c in df:
            df[c] = pd.Categorical(df[c], categories=[str(x) for x in v["levels"]])
    return df


def vec(d):
    return np.array([np.nan if v is None else float(v) for v in (d.values() if isinstance(d, dict) else d)])


def array(x):
    return np.asarray(x, float)


class Out(dict):
    def __init__(self):
        super().__init__(); self.missing = []

    def put(self, key, f):
        try:
            with np.errstate(all="ignore"):
                v = f()
            if v is not None:
                self.setdefault(key, []).append(float(v))
        except Missing as e:
            self.missing.append(f"{key}: {e}")


def fixed_part(out, fit, ref, se):
    fe = val(fit, "fixef"); o = order(list(fe.index), list(ref["fixef"]))
    out.put("fixef", lambda: np.max(np.abs(fe.to_numpy()[o] - vec(ref["fixef"])) / se))
    return o


def diag_se(v, o):
    return np.sqrt(np.diag(array(v)))[o]


def each(rx, case, out, one):
    """Run `one` per fit; a variant that the library refuses with its own error counts as missing, and the others go on."""
    for f in case["fits"]:
        label = " ".join(str(f.get(k)) for k in ("formula", "family", "link", "n_quad", "structure") if f.get(k) is not None)
        try:
            one(f)
        except Missing as e:
            out.missing.append(f"{label}: {e}" if "." not in str(e).split(" ")[0] else str(e))
        except getattr(rx, "RemlaxError", ()) as e:
            out.missing.append(f"REFUSED {label}: {type(e).__name__}: {str(e)[:150]}")


def fit_glmm(rx, f, data, **extra):
    kw = dict(family=f["family"], link=f.get("link"), n_quad=f.get("n_quad", 1))
    for k in ("weights", "offset"):
        if f.get(k):
            kw[k] = f[k]
    kw.update(extra)
    return attempt(get(rx, "glmer"), f["formula"], data, **kw)


def check_glmm_fit(rx, fit, f, out):
    fe = val(fit, "fixef"); o = order(list(fe.index), list(f["fixef"])); inv = np.argsort(o)
    for at in f.get("deviance_at") or []:
        if f.get("size") is not None and at["label"] != "optimum":
            continue  # the dispersion is a parameter of its own: only the optimum is comparable through criterion()
        th, be = array(at["theta"]), array(at["beta"])[inv]
        if f.get("size") is None:
            out.put("deviance_at", lambda: rel(attempt(get(fit, "criterion"), theta=th, beta=be), at["deviance"]))
            if at.get("lme4_devfun") is not None:
                shift = f["minus2_loglik_saturated"] if f["n_quad"] > 1 else 0.0
                out.put("deviance_at_lme4", lambda: rel(attempt(get(fit, "criterion"), theta=th, beta=be), at["lme4_devfun"] + shift))
    out.put("deviance_opt", lambda: max(0.0, float(val(fit, "criterion")) - f["minus2_loglik"]) / max(1.0, abs(f["minus2_loglik"])) )
    out.put("loglik", lambda: rel(val(fit, "loglik"), f["logLik"]))
    out.put("aic", lambda: rel(val(fit, "aic"), f["AIC"]))
    out.put("singular", lambda: float(bool(val(fit, "is_singular")) != bool(f["singular"])))
    se = vec(f["se_hessian"])
    fixed_part(out, fit, f, se)
    if not f["singular"]:
        out.put("theta", lambda: float(np.max(np.abs(np.abs(array(val(fit, "theta"))) - np.abs(vec(f["theta"]))))))
    for use in ("hessian", "rx"):
        out.put("se_" + use, lambda: rel(diag_se(attempt(get(fit, "vcov"), use=use), o), vec(f["se_" + use])))
    if f.get("size") is not None:
        out.put("size", lambda: rel(val(fit, "size") if hasattr(fit, "size") else val(fit, "dispersion"), f["size"]))
    if f.get("ranef") and not f["singular"]:
        check_ranef(fit, f, out)


def check_ranef(fit, f, out):
    """Modes and conditional variances of the first levels: dict of frames by group, attrs["cond_var"] (levels, q, q)."""
    def parts():
        r = attempt(get(fit, "ranef"), cond_var=True)
        for t in f["ranef"]:
            if t["group"] not in r:
                raise Missing(f"ranef()[{t['group']!r}]")
            g = r[t["group"]]; at = {str(i): k for k, i in enumerate(g.index)}
            yield t, g, [at[str(l)] for l in t["levels"]]
    def modes():
        w = 0.0
        for t, g, rows in parts():
            m = array(t["mode"]); w = max(w, float(np.max(np.abs(g.to_numpy(float)[rows] - m) / np.maximum(np.sqrt(np.mean(m ** 2, axis=0)), 1e-8))))
        return w
    def variances():
        w = 0.0
        for t, g, rows in parts():
            if g.attrs.get("cond_var") is None:
                raise Missing("ranef(cond_var=True) without attrs['cond_var']")
            c = array(t["cond_var"])
            if c.shape[0] != len(rows) or c.ndim != 3:
                c = c.reshape(len(rows), g.shape[1], g.shape[1])
            w = max(w, float(np.max(np.abs(array(g.attrs["cond_var"])[rows] - c))) / float(np.max(np.abs(c))))
        return w
    if len({t["group"] for t in f["ranef"]}) == len(f["ranef"]):
        out.put("ranef", modes); out.put("cond_var", variances)


def sets_of(path, case):
    df = frame(path, case["data"]["columns"])
    return [g.drop(columns=[".imp"]).reset_index(drop=True) for i, g in df.groupby(".imp") if int(i) > 0]


def check_pool(out, pooled_of, rub, terms_key="qbar"):
    for row in rub["by_dfcom"]:
        dfcom = math.inf if row["dfcom"] in ("Inf", None) else float(row["dfcom"])
        td = attempt(get(pooled_of(dfcom), "tidy"), "fixed"); o = order(list(td["term"]), list(rub["qbar"])); se = vec(rub["se"])
        out.put("pooled_est", lambda: np.max(np.abs(td["estimate"].to_numpy()[o] - vec(rub["qbar"])) / se))
        out.put("pooled_se", lambda: rel(td["std_error"].to_numpy()[o], se))
        out.put("pooled_df", lambda: rel(td["df"].to_numpy()[o], vec(row["df"])))
        if "fmi" in td:
            out.put("fmi", lambda: rel(td["fmi"].to_numpy()[o], vec(row["fmi"]), 1e-3))


def block_glmm(rx, case, folder, out):
    data = frame(os.path.join(folder, case["data"]["file"]), case["data"]["columns"])
    each(rx, case, out, lambda f: check_glmm_fit(rx, fit_glmm(rx, f, data), f, out))


def block_glmm_mi(rx, case, folder, out):
    sets = sets_of(os.path.join(folder, case["data"]["file"]), case)
    kw = dict(family=case["family"], link=case["link"], n_quad=case["n_quad"])
    for k in ("weights", "offset"):
        if case.get(k):
            kw[k] = case[k]
    many = lambda formula: attempt(get(rx, "glmer_list"), formula, sets, **kw)
    fits = many(case["formula"])
    for fit, f in zip(fits, case["fits"]):
        check_glmm_fit(rx, fit, f, out)
    check_pool(out, lambda dfcom: attempt(get(fits, "pool"), dfcom=dfcom), case["pooled"]["rubin_hessian"])
    for t in case["pooled"]["tests"]:
        fits0 = many(t["null_formula"])
        for m, key in (("D1", "D1"), ("D2", "D2_likelihood"), ("D3", "D3"), ("D4", "D4")):
            ref = t["own"].get(key)
            if not ref:
                continue
            def stat(m=m, ref=ref):
                got = attempt(get(rx, "anova"), fits, fits0, method=m)
                return rel(np.asarray(got["statistic"], float).ravel()[-1], ref["F"])
            out.put(m, stat)


def check_varcorr(fit, refs, out):
    """varcorr(): a frame with group, var1, var2, vcov, sdcor (covariances on the rows with var2)."""
    def f():
        vc = val(fit, "varcorr"); w = 0.0
        for r in refs:
            rows = vc[vc["group"].astype(str) == r["group"]]; own = rows[rows["var2"].isna()]
            names = [str(v) for v in own["var1"]]; o = order(names, r["names"]); at = {n: k for k, n in enumerate(names)}; C = np.diag(own["vcov"].to_numpy(float))
            for _, x in rows[~rows["var2"].isna()].iterrows():
                a, b = at[str(x["var1"])], at[str(x["var2"])]; C[a, b] = C[b, a] = float(x["vcov"])
            S = array(r["cov"]); w = max(w, float(np.max(np.abs(C[np.ix_(o, o)] - S))) / float(np.max(np.diag(S))))
        return w
    out.put("cov", f)


def block_struct(rx, case, folder, out):
    data = frame(os.path.join(folder, case["data"]["file"]), case["data"]["columns"])
    def one(f):
        fit = attempt(get(rx, "lmer"), f["formula"], data, reml=f["reml"])
        out.put("criterion_opt", lambda: abs(float(val(fit, "criterion")) - f["criterion"]))
        fixed_part(out, fit, f, vec(f["se"])); o = order(list(val(fit, "fixef").index), list(f["fixef"]))
        out.put("se", lambda: rel(diag_se(val(fit, "vcov"), o), vec(f["se"])))
        out.put("sigma", lambda: rel(val(fit, "sigma"), f["sigma"]))
        check_varcorr(fit, f["varcorr"], out)
    each(rx, case, out, one)


def mmrm_fit(out, fit, f, sas=None):
    out.put("criterion_opt", lambda: abs(float(val(fit, "criterion")) - f["criterion"]))
    fe = val(fit, "fixef"); o = order(list(fe.index), list(f["fixef"])); se = vec(f["se"])
    out.put("fixef", lambda: np.max(np.abs(fe.to_numpy()[o] - vec(f["fixef"])) / se))
    out.put("se", lambda: rel(diag_se(val(fit, "vcov"), o), se))
    S = array(f["residual_covariance"])
    def cov():
        R = val(fit, "residual_covariance")
        if isinstance(R, pd.DataFrame) and set(map(str, R.index)) == set(f["visits"]):
            R = R.set_axis(list(map(str, R.index)), axis=0).set_axis(list(map(str, R.columns)), axis=1).loc[f["visits"], f["visits"]]
        return float(np.max(np.abs(array(R) - S))) / float(np.max(np.diag(S)))
    out.put("cov", cov)
    def tidy(ddf):
        td = attempt(get(fit, "tidy"), "fixed", ddf=ddf); return td.iloc[order(list(td["term"]), list(f["fixef"]))]
    if f["reml"]:
        out.put("df", lambda: rel(tidy("satterthwaite")["df"], vec(f["satterthwaite"]["df"])))
        kr = f.get("kenward_roger_linear")
        if kr:
            out.put("kr_se", lambda: rel(tidy("kenward-roger")["std_error"], vec(kr["se"])))
            out.put("kr_df", lambda: rel(tidy("kenward-roger")["df"], vec(kr["df"])))
    if sas:
        i = list(f["fixef"]).index("ARMCDTRT")
        key = "kr_linear"
        out.put("sas_est", lambda: rel(fe.to_numpy()[o][i], sas[key]["estimate"]))
        out.put("sas_kr_se", lambda: rel(tidy("kenward-roger")["std_error"].to_numpy()[i], sas[key]["se"]))
        out.put("sas_kr_df", lambda: rel(tidy("kenward-roger")["df"].to_numpy()[i], sas[key]["df"]))


def mmrm_formula(f):
    return f"{f['formula']} + {f['structure']}({f['visit']} | {f['id']})"


def block_mmrm(rx, case, folder, out):
    data = frame(os.path.join(folder, case["data"]["file"]), case["data"]["columns"])
    def one(f):
        fit = attempt(get(rx, "mmrm"), mmrm_formula(f), data, reml=f["reml"])
        sas = case.get("sas", {}).get("treatment_difference", {}).get(f["structure"]) if f["formula"] == "FEV1 ~ ARMCD" else None
        mmrm_fit(out, fit, f, sas)
    each(rx, case, out, one)


def block_mmrm_mi(rx, case, folder, out):
    sets = sets_of(os.path.join(folder, case["data"]["file"]), case)
    fits = attempt(get(rx, "mmrm_list"), mmrm_formula(case), sets, reml=True)
    for fit, f in zip(fits, case["fits"]):
        mmrm_fit(out, fit, f)
    check_pool(out, lambda dfcom: attempt(get(fits, "pool"), dfcom=dfcom), case["pooled"]["rubin"])


def block_blme(rx, case, folder, out):
    data = frame(os.path.join(folder, case["data"]["file"]), case["data"]["columns"])
    def one(f):
        p = f["cov_prior"]
        if p["name"] == "gamma" and (p["shape"], p["rate"]) != (2.5, 0):
            raise Missing("a prior with its own shape and rate has no planned spelling")
        fit = attempt(get(rx, "lmer"), f["formula"], data, reml=f["reml"], cov_prior=p["name"])
        th = array(val(fit, "theta"))
        if th.shape == vec(f["theta"]).shape:
            out.put("theta", lambda: float(np.max(np.abs(th - vec(f["theta"])))))
        fixed_part(out, fit, f, vec(f["se"])); o = order(list(val(fit, "fixef").index), list(f["fixef"]))
        out.put("se", lambda: rel(diag_se(val(fit, "vcov"), o), vec(f["se"])))
        out.put("sigma", lambda: rel(val(fit, "sigma"), f["sigma"]))
        # criterion() may be meant with or without the penalty: either is taken
        c = float(val(fit, "criterion")); out.put("objective_opt", lambda: min(abs(c - f["objective"]), abs(c - f["criterion_without_penalty"])))
    each(rx, case, out, one)
    for f in case.get("glmm_fits") or []:
        try:
            fit = fit_glmm(rx, f, data, cov_prior=f["cov_prior"]["name"])
        except Missing as e:
            out.missing.append(f"glmer with a prior: {e}"); continue
        out.put("theta", lambda: float(np.max(np.abs(array(val(fit, "theta")) - array(f["theta"])))))
        fixed_part(out, fit, f, vec(f["se_hessian"]))


def columns(table):
    return pd.DataFrame({k: v for k, v in table.items() if k != "row"})


def block_many(rx, case, folder, out):
    data = frame(os.path.join(folder, case["data"]["file"]), case["data"]["columns"])
    Y = pd.read_csv(os.path.join(folder, case["responses_file"]), float_precision="round_trip")
    many = attempt(get(rx, "lmer_many"), case["formula"], data, responses=Y)
    key = lambda d: [(str(r), norm(t)) for r, t in zip(d["response"], d["term"])]
    def aligned(td, ref):
        at = {k: i for i, k in enumerate(key(td))}; return td.iloc[[at[k] for k in key(ref)]].reset_index(drop=True)
    ref = columns(case["fixed"]); td = aligned(attempt(get(many, "tidy"), "fixed"), ref)
    out.put("estimate", lambda: np.max(np.abs(td["estimate"] - ref["estimate"]) / ref["std_error"]))
    out.put("se", lambda: rel(td["std_error"], ref["std_error"])); out.put("df", lambda: rel(td["df"], ref["df"]))
    out.put("statistic", lambda: float(np.max(np.abs(td["statistic"] - ref["statistic"]))))
    out.put("log_p", lambda: float(np.max(np.abs(np.log(td["p_value"]) - np.log(ref["p_value"])))))
    res = columns(case["responses"])
    def sig():
        s = val(many, "sigma"); s = s.loc[res["response"]] if isinstance(s, pd.Series) and set(s.index) >= set(res["response"]) else s
        return rel(s, res["sigma"])
    out.put("sigma", sig)
    mo = columns(case["moderated"]["table"]); m = attempt(get(many, "moderate")); mt = aligned(attempt(get(m, "tidy"), "fixed"), mo)
    out.put("moderated", lambda: float(np.max(np.abs(mt["statistic"] - mo["statistic"]))))
    out.put("df", lambda: rel(mt["df"], mo["df"]))
    for name in ("s2_prior", "df_prior"):
        out.put(name, lambda name=name: rel(val(m, name), case["moderated"][name]))


BLOCKS = dict(glmm=block_glmm, glmm_mi=block_glmm_mi, struct=block_struct, mmrm=block_mmrm, mmrm_mi=block_mmrm_mi, blme=block_blme, many=block_many)


def main():
    ap = argparse.ArgumentParser(); ap.add_argument("dir"); ap.add_argument("--only", nargs="*"); ap.add_argument("--block", nargs="*"); ap.add_argument("--json"); ap.add_argument("--verbose", action="store_true")
    a = ap.parse_args()
    import remlax as rx
    worst, rows, missing, raised, n = {}, {}, {}, [], 0
    for path in sorted(glob.glob(os.path.join(a.dir, "*.json"))):
        name = os.path.basename(path)[:-5]; case = json.load(open(path)); kind = case.get("kind") if isinstance(case, dict) else None
        if kind not in BLOCKS or (a.only and name not in a.only) or (a.block and kind not in a.block):
            continue
        n += 1; out = Out()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore"); BLOCKS[kind](rx, case, a.dir, out)
        except Missing as e:
            out.missing.append(str(e))
        except Exception as e:  # noqa: BLE001  (a case that raises is a failed case)
            text = f"{type(e).__name__}: {str(e)[:160]}"
            if isinstance(e, getattr(rx, "RemlaxError", ())):
                out.missing.append("REFUSED " + text)
            else:
                raised.append(name); print(f"{name:28s} RAISED {text}")
                if a.verbose: traceback.print_exc()
                continue
        row = {k: max(v) for k, v in out.items()}; rows[name] = row
        for k, v in row.items():
            worst.setdefault(k, []).append((v, name))
        bad = {k: f"{v:.1e}" for k, v in row.items() if not v <= BARS[k]}
        for m in out.missing:
            missing.setdefault(kind, set()).add(m)
        state = "missing" if not row else ("ok" if not bad else str(bad))
        print(f"{name:28s} {state}" + (f"   (missing: {len(set(out.missing))})" if out.missing and row else ""))
        if a.verbose:
            print("   ", {k: f"{v:.1e}" for k, v in row.items()}, *sorted(set(out.missing)), sep="\n    ")
    for k, v in missing.items():
        print(f"block {k}: missing {'; '.join(sorted(v)[:4])}" + (f" and {len(v) - 4} more" if len(v) > 4 else ""))
    over = [f"{k} {max(v)[0]:.1e} in {max(v)[1]}" for k, v in worst.items() if not max(x[0] for x in v) <= BARS[k]]
    if a.json:
        json.dump(dict(rows=rows, missing={k: sorted(v) for k, v in missing.items()}, raised=raised), open(a.json, "w"), indent=1)
    ran = [r for r in rows.values() if r]
    print(f"{n} cases, {len(ran)} ran, {n - len(ran) - len(raised)} missing, {len(raised)} raised, over the bar: {'; '.join(over) or 'none'}")
    sys.exit(1 if raised or over else (2 if not ran else 0))


if __name__ == "__main__":
    main()
