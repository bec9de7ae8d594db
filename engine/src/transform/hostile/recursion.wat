(func $deep (call $deep)) ;; Calls itself without end.
