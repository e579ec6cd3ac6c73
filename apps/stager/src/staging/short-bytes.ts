/** As CF's log lines have it: 1.2M, 830.5K, 12B. */
export function shortBytes(bytes: number): string {
  const units = ['B', 'K', 'M', 'G', 'T']
  const power = Math.min(Math.floor(Math.log2(Math.max(bytes, 1)) / 10), units.length - 1)
  const value = bytes / 1024 ** power
  return `${power === 0 ? value : value.toFixed(1).replace(/\.0$/, '')}${units[power] ?? ''}`
}
