export type Entries = Readonly<Record<string, unknown>>
export const isObject = (value: unknown): value is Entries => typeof value === 'object' && value !== null && !Array.isArray(value)

/** `disk_quota` and `disk-quota` are one key. */
export const dashed = (entries: Entries): Record<string, unknown> =>
  Object.fromEntries(Object.entries(entries).map(([key, value]) => [key.replaceAll('_', '-'), value]))
