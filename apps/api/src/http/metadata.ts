import { z } from 'zod'

const KEY = /^(?:(?<prefix>[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?)\/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/
const VALUE = /^(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/

const labels = z.record(z.string(), z.string().nullable()).superRefine((entries, context) => {
  for (const [key, value] of Object.entries(entries)) {
    if (!KEY.test(key))
      context.addIssue({ code: 'custom', message: `label key error: '${key}' contains invalid characters or is too long` })
    if (value !== null && !VALUE.test(value))
      context.addIssue({ code: 'custom', message: `label value error: '${value}' contains invalid characters or is too long` })
  }
})
const annotations = z.record(z.string(), z.string().max(5000, 'is greater than 5000 characters').nullable())

/** The `metadata` of a create or update; null deletes a key. */
export const MetadataInput = z.object({ labels: labels.optional(), annotations: annotations.optional() })
export type MetadataInput = z.infer<typeof MetadataInput>

type Entries = Record<string, string>
interface WithMetadata {
  readonly labels: unknown
  readonly annotations: unknown
}
const merge = (present: unknown, change: Record<string, string | null> | undefined): Entries => {
  const merged: Record<string, string | null> = { ...(present as Entries | null), ...change }
  return Object.fromEntries(Object.entries(merged).filter((entry): entry is [string, string] => entry[1] !== null))
}

/** Column values after a metadata change; spread into a Prisma create or update. */
export const applyMetadata = (
  present: WithMetadata | undefined,
  input: MetadataInput | undefined,
): { labels: Entries; annotations: Entries } => ({
  labels: merge(present?.labels, input?.labels),
  annotations: merge(present?.annotations, input?.annotations),
})
export const presentMetadata = (row: WithMetadata): { labels: Entries; annotations: Entries } => ({
  labels: (row.labels ?? {}) as Entries,
  annotations: (row.annotations ?? {}) as Entries,
})
