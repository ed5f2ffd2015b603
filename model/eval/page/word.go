package page

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"polder.dev/polder/model/eval"
)

// words are all that a page says, in one language.
type words struct {
	title, metric, interval, passed, unmet, requirements, numbers string
	rows, file, label, digest, seed, processor, sandbox, data     string
	regressions, contaminated, clean, footer                      string
	intervals, intervalsAbout, latency, latencyAbout              string
	slices, slicesAbout, few, calibration, calibrationAbout       string
	confidence, right, coverage, answered, confusion              string
	confusionAbout, expected, predicted, more                     string
	better, worse, none, same                                     string
	points, aloneIs, reqMin, reqMax, reqNot                       string
	service, route, answeredBy, isService, isRoute                string
	tasks, metrics                                                map[string]string
}

// The page's own text reads these.
func (w *words) Requirements() string { return w.requirements }

// Numbers heads the table.
func (w *words) Numbers() string { return w.numbers }

// Data heads the facts.
func (w *words) Data() string { return w.data }

// Footer says how to read the page.
func (w *words) Footer() string { return w.footer }

var english = words{
	title: "Evaluation of %s", metric: "Metric", interval: "%s to %s", passed: "Passed", unmet: "Not passed", requirements: "Requirements", numbers: "Numbers",
	rows: "Rows judged", file: "File", label: "Label", digest: "Digest of the data", seed: "Seed", processor: "Processor", sandbox: "Sandbox", data: "What was judged",
	regressions: "Significantly worse in %d slices, first of all where %s is %s (against %s).", contaminated: "%d rows are in the training data, and %d more but for one feature, of %d: quality is told too well.",
	clean: "None of the rows is among the %d of the training data.", footer: "Intervals are of 95 %. A difference counts as one when its test, corrected for the number of comparisons, gives p below 0.05. Differences below are the candidate's number minus the other's.",
	intervals: "Quality", intervalsAbout: "Dots are what was measured, lines the interval that holds the truth 95 times of 100.",
	latency: "Latency", latencyAbout: "Of requests with one row, one after the other. The scale is logarithmic.",
	slices: "Slices", slicesAbout: "Quality of parts of the rows. Hollow: too few rows to say anything.", few: "too few", calibration: "Confidence", calibrationAbout: "Left: whether answers are right as often as the model is sure; on the line is best. Right: what share is right when only the surest answers count.",
	confidence: "confidence", right: "right", coverage: "Surest answers", answered: "share that is answered", confusion: "Confusion of %s", confusionAbout: "How often rows of a class (left) got an answer (top).", expected: "expected", predicted: "answered", more: "and %d more slices, which the report has",
	better: "%s is better than %s", worse: "%s is worse than %s", none: "No significant difference between %s and %s", same: "%s: %s %s (%s, p %s).",
	points: "points", aloneIs: "%s of %s is %s%s.", reqMin: "at least %s", reqMax: "at most %s", reqNot: "not significantly worse than %s",
	service: "service %s", route: "route %s", answeredBy: "%d by %s", isService: "%s (service)", isRoute: "%s (route)",
	tasks: map[string]string{eval.TaskClassification: "classification", eval.TaskRegression: "regression", eval.TaskForecast: "forecast", eval.TaskGeneration: "generation"},
	metrics: map[string]string{
		eval.Accuracy: "accuracy", eval.F1: "F1 (macro)", eval.AUC: "AUC", eval.ExactMatch: "exact match", eval.TokenF1: "F1 of words", eval.RougeL: "ROUGE-L", eval.MAE: "MAE", eval.RMSE: "RMSE", eval.Score: "score",
		eval.LatencyP50: "latency, median", eval.LatencyP99: "latency, 99 %", eval.Throughput: "rows per second", eval.CostPer1K: "cost per 1,000", eval.EnergyPer1K: "energy per 1,000 (J)", eval.TokenRate: "tokens per second",
	},
}

var chinese = words{
	title: "%s 的评测", metric: "指标", interval: "%s 至 %s", passed: "通过", unmet: "未通过", requirements: "要求", numbers: "数据",
	rows: "评测行数", file: "文件", label: "标签列", digest: "数据摘要", seed: "随机种子", processor: "处理器", sandbox: "沙箱", data: "评测对象",
	regressions: "在 %d 个分片上显著变差,首先是 %s = %s(相对 %s)。", contaminated: "%[3]d 行中有 %[1]d 行与训练数据完全相同,另有 %[2]d 行仅差一个特征:质量被高估。",
	clean: "没有任何一行出现在训练数据的 %d 行中。", footer: "区间均为 95 % 置信区间。只有经多重比较校正后 p 小于 0.05 的差异才算差异。差值 = 候选模型 − 对照模型。",
	intervals: "质量", intervalsAbout: "圆点为测得值,线段为 95 % 置信区间。",
	latency: "延迟", latencyAbout: "逐个发送的单行请求;横轴为对数刻度。",
	slices: "分片", slicesAbout: "各部分数据上的质量。空心:行数太少,不足以下结论。", few: "行数太少", calibration: "置信度", calibrationAbout: "左:置信度与正确率是否一致,越贴近对角线越好。右:只采纳最有把握的回答时的正确率。",
	confidence: "置信度", right: "正确率", coverage: "最有把握的回答", answered: "采纳比例", confusion: "%s 的混淆矩阵", confusionAbout: "行为真实类别,列为模型回答,数字为行数。", expected: "真实", predicted: "回答", more: "另有 %d 个分片,见报告",
	better: "%s 优于 %s", worse: "%s 劣于 %s", none: "%s 与 %s 无显著差异", same: "%s:%s %s(%s,p %s)。",
	points: "个百分点", aloneIs: "%[2]s 的%[1]s为 %[3]s%[4]s。", reqMin: "不低于 %s", reqMax: "不高于 %s", reqNot: "不显著劣于 %s",
	service: "服务 %s", route: "路由 %s", answeredBy: "%d 行由 %s 回答", isService: "%s(服务)", isRoute: "%s(路由)",
	tasks: map[string]string{eval.TaskClassification: "分类", eval.TaskRegression: "回归", eval.TaskForecast: "预测", eval.TaskGeneration: "生成"},
	metrics: map[string]string{
		eval.Accuracy: "准确率", eval.F1: "F1(宏平均)", eval.AUC: "AUC", eval.ExactMatch: "完全匹配", eval.TokenF1: "词级 F1", eval.RougeL: "ROUGE-L", eval.MAE: "平均绝对误差", eval.RMSE: "均方根误差", eval.Score: "得分",
		eval.LatencyP50: "延迟中位数", eval.LatencyP99: "99 % 延迟", eval.Throughput: "每秒行数", eval.CostPer1K: "每千次成本", eval.EnergyPer1K: "每千次能耗(焦)", eval.TokenRate: "每秒词元数",
	},
}

func wordsOf(l Language) *words {
	if l == Chinese {
		return &chinese
	}
	return &english
}

func (w *words) metricName(metric string) string {
	if s := w.metrics[metric]; s != "" {
		return s
	}
	return short(metric, 40)
}

// heading is a model's name, and whether it is none.
func (w *words) heading(m *eval.Model) string {
	name := short(m.Name, 40)
	switch {
	case m.Service != "":
		return fmt.Sprintf(w.isService, name)
	case m.Route != "":
		return fmt.Sprintf(w.isRoute, name)
	}
	return name
}

// whoIs says what a model of a report is: a digest, or a service or route and who answered
// for it.
func (w *words) whoIs(m *eval.Model) string {
	out := m.Digest
	switch {
	case m.Service != "":
		out = fmt.Sprintf(w.service, short(m.Service, 64))
	case m.Route != "":
		out = fmt.Sprintf(w.route, short(m.Route, 64))
	}
	for _, o := range m.By {
		var by []string
		for _, s := range []string{o.Target, o.Revision, strings.TrimPrefix(o.Digest, "sha256:")} {
			if s != "" {
				by = append(by, short(s, 24))
			}
		}
		if len(by) > 0 {
			out += "; " + fmt.Sprintf(w.answeredBy, o.Rows, strings.Join(by, " "))
		}
	}
	return out
}

// comparison is a comparison in a sentence.
func (w *words) comparison(candidate string, c *eval.Comparison) string {
	pattern := w.none
	switch c.Verdict {
	case eval.Better:
		pattern = w.better
	case eval.Worse:
		pattern = w.worse
	}
	p := "= " + strconv.FormatFloat(c.Adjusted, 'f', 3, 64)
	if c.Adjusted < 0.001 {
		p = "< 0.001"
	}
	interval := "–"
	if c.Difference.Low != nil {
		interval = fmt.Sprintf(w.interval, signed(c.Metric, *c.Difference.Low), signed(c.Metric, *c.Difference.High))
	}
	unit := ""
	if share(c.Metric) {
		unit = " " + w.points
	}
	return fmt.Sprintf(w.same, fmt.Sprintf(pattern, short(candidate, 64), short(c.With, 64)), w.metricName(c.Metric), signed(c.Metric, c.Difference.Value)+unit, interval, p)
}

// alone is what is said of a candidate that was compared with none.
func (w *words) alone(r *eval.Report) string {
	m := r.Models[0].Metrics[r.Metric]
	interval := ""
	if m.Low != nil {
		interval = " (" + fmt.Sprintf(w.interval, shown(r.Metric, *m.Low), shown(r.Metric, *m.High)) + ")"
	}
	return fmt.Sprintf(w.aloneIs, w.metricName(r.Metric), short(r.Models[0].Name, 64), shown(r.Metric, m.Value), interval)
}

// requirement is what was asked and what there is.
func (w *words) requirement(r *eval.Report, j *eval.Judgement) string {
	var asked []string
	if j.Min != nil {
		asked = append(asked, fmt.Sprintf(w.reqMin, shown(j.Metric, *j.Min)))
	}
	if j.Max != nil {
		asked = append(asked, fmt.Sprintf(w.reqMax, shown(j.Metric, *j.Max)))
	}
	if j.NotWorseThan != "" {
		asked = append(asked, fmt.Sprintf(w.reqNot, short(j.NotWorseThan, 64)))
	}
	has := "–"
	if m, ok := r.Models[0].Metrics[j.Metric]; ok {
		has = shown(j.Metric, m.Value)
	}
	return w.metricName(j.Metric) + " " + strings.Join(asked, ", ") + ": " + has
}

func share(metric string) bool {
	switch metric {
	case eval.Accuracy, eval.F1, eval.AUC, eval.ExactMatch, eval.TokenF1, eval.RougeL:
		return true
	}
	return false
}

// shown is a metric's value for people.
func shown(metric string, v float64) string {
	switch {
	case metric == eval.LatencyP50 || metric == eval.LatencyP99:
		return seconds(v)
	case share(metric):
		return strconv.FormatFloat(v, 'f', 3, 64)
	case metric == eval.Throughput && v >= 100:
		return strconv.FormatFloat(math.Round(v), 'f', 0, 64)
	}
	return digits(v, 4)
}

// signed is a difference of a metric: of shares in points.
func signed(metric string, v float64) string {
	if share(metric) {
		return fmt.Sprintf("%+.1f", 100*v)
	}
	s := digits(v, 3)
	if v > 0 {
		s = "+" + s
	}
	return s
}

// seconds with a unit that leaves few digits.
func seconds(v float64) string {
	switch {
	case v < 1e-3:
		return digits(v*1e6, 3) + " µs"
	case v < 1:
		return digits(v*1e3, 3) + " ms"
	}
	return digits(v, 3) + " s"
}

// digits is v with n digits that count, without an exponent while it is not huge.
func digits(v float64, n int) string {
	f, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', n, 64), 64)
	if err != nil || math.Abs(f) >= 1e12 || f != 0 && math.Abs(f) < 1e-9 {
		return strconv.FormatFloat(v, 'g', n, 64)
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

// short cuts a foreign word, and takes line breaks out of it.
func short(s string, runesMax int) string {
	r := []rune(strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " "))
	if len(r) > runesMax {
		return string(r[:runesMax-1]) + "…"
	}
	return string(r)
}
