;; Never returns.
(loop $spin (br $spin))
