package v1alpha1_test

// withoutUnset drops what means the same as being unset: null, an empty list, and the zero
// values of fields whose documentation says so. Numbers become float64, whatever decoder
// they come from.
func withoutUnset(value any) any {
	switch value := value.(type) {
	case map[string]any:
		kept := map[string]any{}
		for key, below := range value {
			if below = withoutUnset(below); below != nil {
				kept[key] = below
			}
		}
		return kept
	case []any:
		if len(value) == 0 {
			return nil
		}
		kept := make([]any, len(value))
		for i := range value {
			kept[i] = withoutUnset(value[i])
		}
		return kept
	case int64:
		return withoutUnset(float64(value))
	case float64:
		if value == 0 {
			return nil
		}
	case bool:
		if !value {
			return nil
		}
	}
	return value
}
