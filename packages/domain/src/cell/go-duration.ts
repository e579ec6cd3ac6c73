/** A span in Go's form, rounded to milliseconds, as crash reasons show it: `1m0.003s`, `850ms`, `2h0m1s`. */
export function goDuration(ms: number): string {
  const rounded = Math.max(0, Math.round(ms))
  if (rounded === 0) return '0s'
  if (rounded < 1000) return `${rounded}ms`
  const hours = Math.floor(rounded / 3_600_000)
  const minutes = Math.floor(rounded / 60_000) % 60
  const seconds = `${Number(((rounded % 60_000) / 1000).toFixed(3))}s`
  if (hours > 0) return `${hours}h${minutes}m${seconds}`
  return minutes > 0 ? `${minutes}m${seconds}` : seconds
}
