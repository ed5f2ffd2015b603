package distil

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// ErrNotLearned says that a student is no better than the simplest way to answer.
var ErrNotLearned = errors.New("the student did not learn")

// Learned judges a student by the figures that its recipe leaves: whether it beats always
// giving the commonest label, or the best of the simple controls, and what it began as.
// Figures that are not there are not judged: a program of one's own need not have them.
func Learned(metrics map[string]string) error {
	for _, k := range slices.Sorted(maps.Keys(metrics)) {
		if v, err := strconv.ParseFloat(metrics[k], 64); err == nil && (math.IsNaN(v) || math.IsInf(v, 0)) {
			return fmt.Errorf("%w: its figure %s is %s; look at the data for numbers without bounds, or lower the parameter lr", ErrNotLearned, k, metrics[k])
		}
	}
	if _, ok := figure(metrics, "test_reward"); ok {
		return learnedActions(metrics)
	}
	if err := learnedAnswers(metrics); err != nil {
		return err
	}
	return improved(metrics)
}

// learnedActions judges a policy by what its actions are rewarded with.
func learnedActions(metrics map[string]string) error {
	reward, _ := figure(metrics, "test_reward")
	if constant, known := figure(metrics, "test_constant_reward"); known && reward <= constant {
		return fmt.Errorf("%w: its actions are rewarded by %.4g on average, and always the same one by %.4g; give more epochs, or look at the reward program", ErrNotLearned, reward, constant)
	}
	if was, known := figure(metrics, "before_reward"); known && reward <= was {
		return fmt.Errorf("%w: its actions are rewarded by %.4g on average, and were by %.4g before; give more epochs, or raise the parameter lr", ErrNotLearned, reward, was)
	}
	return nil
}

// improved judges a model that went on learning: it is better than what it began as, or
// ranks better.
func improved(metrics map[string]string) error {
	mine, ok := figure(metrics, "test_accuracy")
	was, known := figure(metrics, "before_accuracy")
	if ok && known && mine <= was {
		auc, ranks := figure(metrics, "test_auc")
		if before, ranked := figure(metrics, "before_auc"); ranks && ranked && auc > before {
			return nil
		}
		return fmt.Errorf("%w: it is right in %.4f of cases, and was in %.4f before; give more epochs or more data, or raise the parameter lr", ErrNotLearned, mine, was)
	}
	wrong, ok := figure(metrics, "test_mae")
	was, known = figure(metrics, "before_mae")
	if ok && known && wrong >= was {
		return fmt.Errorf("%w: it is wrong by %.4g on average, and was by %.4g before; give more epochs or more data, or raise the parameter lr", ErrNotLearned, wrong, was)
	}
	return nil
}

// learnedAnswers judges a model by the simplest ways to answer.
func learnedAnswers(metrics map[string]string) error {
	mine, ok := figure(metrics, "test_accuracy")
	common, known := figure(metrics, "test_majority_accuracy")
	if ok && known && mine <= common {
		auc, ranks := figure(metrics, "test_auc")
		if low, ok := figure(metrics, "test_auc_low"); ok {
			auc = low // by chance alone every other AUC is above 0.5
		}
		if ranks && auc > 0.5 {
			return nil // it ranks, and a requirement says whether well enough
		}
		return fmt.Errorf("%w: it is right in %.4f of cases, and always giving the commonest label is in %.4f; give more epochs, a larger student or more data", ErrNotLearned, mine, common)
	}
	wrong, ok := figure(metrics, "test_mae")
	if !ok {
		return nil
	}
	for _, k := range slices.Sorted(maps.Keys(metrics)) {
		v, known := figure(metrics, k)
		if known && strings.HasPrefix(k, "test_") && strings.HasSuffix(k, "_mae") && k != "test_mae" && wrong >= v {
			name := strings.TrimSuffix(strings.TrimPrefix(k, "test_"), "_mae")
			return fmt.Errorf("%w: it is wrong by %.4g on average, and the simple control %s by %.4g; use the control", ErrNotLearned, wrong, name, v)
		}
	}
	return nil
}

func figure(metrics map[string]string, name string) (float64, bool) {
	v, err := strconv.ParseFloat(metrics[name], 64)
	return v, err == nil && !math.IsNaN(v)
}
