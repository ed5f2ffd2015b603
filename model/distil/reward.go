package distil

import (
	"errors"
	"fmt"
	"strconv"

	"polder.dev/polder/api/v1alpha1"
)

// MetricReward is what a policy is rewarded with on average, on rows that it has not
// learned from. Only the recipe can tell it, since it alone runs the reward program.
const MetricReward = "reward"

func ofReward(q v1alpha1.EvaluationRequirement) bool { return q.Metric == MetricReward }

// Judged reports whether an evaluation judges the student. Of a policy that chooses among
// actions of its own no label says what is right: it is judged by its rewards.
func Judged(d *v1alpha1.Distillation) bool {
	return method(d) != v1alpha1.MethodReinforce || d.Spec.Student.Parameters["actions"] == ""
}

// checkRewards says which requirements cannot be judged.
func checkRewards(d *v1alpha1.Distillation) error {
	var err error
	for i, q := range d.Spec.Requirements {
		field := fmt.Sprintf("spec.requirements[%d].metric", i)
		switch {
		case ofReward(q) && method(d) != v1alpha1.MethodReinforce:
			err = errors.Join(err, refuse(field, "reward is told of method reinforce only; ask for another metric, such as accuracy"))
		case ofReward(q) && (q.NotWorseThan != "" || q.Min == "" && q.Max == ""):
			err = errors.Join(err, refuse(field, "reward is not compared with that of another model; give min or max"))
		case !ofReward(q) && !Judged(d):
			err = errors.Join(err, refuse(field, "%q cannot be told where the parameter actions names what to choose among, since no label is one; ask for reward", q.Metric))
		}
	}
	return err
}

// Rewarded judges a policy by the figures that its recipe leaves: it returns what is said of
// its rewards, and which requirements of them are not met, a sentence each.
func Rewarded(d *v1alpha1.Distillation, metrics map[string]string) (verdict string, unmet []string) {
	reward, ok := figure(metrics, "test_reward")
	if !ok {
		verdict = "Its program tells no test_reward."
	} else {
		verdict = fmt.Sprintf("Its actions are rewarded by %.4g on average", reward)
		for _, other := range []struct{ figure, says string }{{"test_constant_reward", "always the same one by %.4g"}, {"before_reward", "before it learned they were by %.4g"}} {
			if v, known := figure(metrics, other.figure); known {
				verdict += "; " + fmt.Sprintf(other.says, v)
			}
		}
		verdict += "."
	}
	for _, q := range d.Spec.Requirements {
		if !ofReward(q) {
			continue
		}
		least, low := strconv.ParseFloat(q.Min, 64)
		most, high := strconv.ParseFloat(q.Max, 64)
		switch {
		case !ok:
			unmet = append(unmet, "reward is required, and was not told.")
		case low == nil && reward < least:
			unmet = append(unmet, fmt.Sprintf("reward is %.4g; at least %s is required.", reward, q.Min))
		case high == nil && reward > most:
			unmet = append(unmet, fmt.Sprintf("reward is %.4g; at most %s is required.", reward, q.Max))
		}
	}
	return verdict, unmet
}
