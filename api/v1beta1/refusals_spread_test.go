package v1beta1_test

import "strings"

// spreads are wishes of how to spread pods, most of which no scheduler could follow.
func spreads() map[string]input {
	spread := func(text string) string { return spec(`{"spread":` + text + `}`) }
	labelled := func(label string) string { return spread(`{"policy":"Weighted","weightLabel":"` + label + `"}`) }
	fine := func(body string) input { return input{body: body, query: "dryRun=All", code: 201} }
	return map[string]input{
		"a weight without a label": {body: spread(`{"policy":"Weighted"}`), code: 422,
			want: []string{"spec.spread.weightLabel: Required value: must be set when policy is Weighted"}},
		"a weight with an empty label": {body: labelled(""), code: 422,
			want: []string{"spec.spread.weightLabel: Invalid value", "must be a qualified label name"}},
		"a label without a weight": {body: spread(`{"policy":"Even","weightLabel":"example.com/cost"}`), code: 422,
			want: []string{"spec.spread.weightLabel: Forbidden: may only be set when policy is Weighted"}},
		"a label that is none": {body: labelled("example.com/a/b"), code: 422, want: []string{
			"spec.spread.weightLabel: Invalid value", "must be a qualified label name, such as example.com/cost"}},
		"a label with a space": {body: labelled("how dear"), code: 422,
			want: []string{"spec.spread.weightLabel: Invalid value", "must be a qualified label name"}},
		"a label that is too long": {body: labelled("example.com/" + strings.Repeat("x", 310)), code: 422,
			want: []string{"spec.spread.weightLabel: Too long: may not be more than 317 bytes"}},
		"an unknown policy": {body: spread(`{"policy":"Nearest"}`), code: 422,
			want: []string{`spec.spread.policy: Unsupported value: "Nearest": supported values: ` +
				`"PreferHome", "Even", "Weighted", "None"`}},
		"a policy in lower case": {body: spread(`{"policy":"even"}`), code: 422,
			want: []string{`spec.spread.policy: Unsupported value: "even"`}},
		"no policy": {body: spread(`{}`), code: 422,
			want: []string{"spec.spread.policy: Required value"}},
		"PreferHome":                           fine(spread(`{"policy":"PreferHome"}`)),
		"Even":                                 fine(spread(`{"policy":"Even"}`)),
		"None":                                 fine(spread(`{"policy":"None"}`)),
		"Weighted":                             fine(labelled("example.com/cost")),
		"Weighted by a label without a prefix": fine(labelled("cost")),
		"Weighted by the longest label":        fine(labelled(longest())),
	}
}

// longest returns the longest name that a label may have: 253 characters, a slash, and 63 more.
func longest() string {
	part := strings.Repeat("x", 63)
	return part + "." + part + "." + part + "." + strings.Repeat("x", 61) + "/" + part
}
