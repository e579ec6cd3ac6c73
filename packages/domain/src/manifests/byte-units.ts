const UNITS: Readonly<Record<string, number>> = {
  B: 1,
  K: 1024,
  KB: 1024,
  M: 1024 ** 2,
  MB: 1024 ** 2,
  G: 1024 ** 3,
  GB: 1024 ** 3,
  T: 1024 ** 4,
  TB: 1024 ** 4,
}
export type ByteFault = 'is not a number' | 'must use a supported unit: B, K, KB, M, MB, G, GB, T, or TB'
export type ParsedBytes = { readonly bytes: number } | { readonly fault: ByteFault }

/** Reads "256M", "1.5GB", "10K" and the like. */
export function parseBytes(value: unknown): ParsedBytes {
  const text = typeof value === 'number' ? String(value) : typeof value === 'string' ? value.trim() : ''
  const match = /^([+-]?\d+(?:\.\d+)?)\s*([A-Za-z]*)$/.exec(text)
  if (!match) return { fault: 'is not a number' }
  const unit = UNITS[(match[2] ?? '').toUpperCase()]
  if (unit === undefined) return { fault: 'must use a supported unit: B, K, KB, M, MB, G, GB, T, or TB' }
  return { bytes: Math.floor(Number(match[1]) * unit) }
}

export const toMebibytes = (bytes: number): number => Math.floor(bytes / 1024 ** 2)

/** The shortest exact spelling: 1048576 → "1M". */
export function printBytes(bytes: number): string {
  for (const unit of ['T', 'G', 'M', 'K']) {
    const size = UNITS[unit] ?? 1
    if (bytes !== 0 && bytes % size === 0) return `${bytes / size}${unit}`
  }
  return `${bytes}B`
}
