import { CfError } from '@bloomery/contracts'
import { Prisma } from '@bloomery/database'

type Requirement =
  | { readonly kind: 'in' | 'notin'; readonly key: string; readonly values: readonly string[] }
  | { readonly kind: 'exists' | 'absent'; readonly key: string }

const PART =
  /\s*(?:(?<set>!?[^\s,=!()]+)\s+(?<op>in|notin)\s*\((?<values>[^)]*)\)|(?<key>[^\s,=!()]+)\s*(?<eq>==|=|!=)\s*(?<value>[^\s,()]*)|(?<absent>!)?\s*(?<name>[^\s,=!()]+))\s*(?:,|$)/y

/** Reads CAPI's label selector: `a=b,c!=d,e in (f,g),h notin (i),j,!k`. */
export function parseLabelSelector(text: string): Requirement[] {
  const requirements: Requirement[] = []
  PART.lastIndex = 0
  while (PART.lastIndex < text.length) {
    const match = PART.exec(text)
    const groups = match?.groups
    if (!groups)
      throw new CfError(
        'BadQueryParameter',
        `The query parameter is invalid: label_selector '${text}' cannot be read; write e.g. key=value,other!=value,third in (a,b)`,
      )
    if (groups['set'] !== undefined)
      requirements.push({
        kind: groups['op'] === 'in' ? 'in' : 'notin',
        key: groups['set'],
        values: (groups['values'] ?? '').split(',').map((value) => value.trim()),
      })
    else if (groups['key'] !== undefined)
      requirements.push({ kind: groups['eq'] === '!=' ? 'notin' : 'in', key: groups['key'], values: [groups['value'] ?? ''] })
    else requirements.push({ kind: groups['absent'] ? 'absent' : 'exists', key: groups['name'] ?? '' })
  }
  return requirements
}

/** One requirement as a Prisma condition on a jsonb `labels` column. */
export interface LabelCondition {
  AND?: LabelCondition[]
  OR?: LabelCondition[]
  NOT?: LabelCondition[]
  labels?: { path: string[]; equals: string | typeof Prisma.DbNull }
}

/** A key that is not there is a database null at its path; `NOT` alone would lose such rows, since a comparison with null is neither true nor false. */
export function labelConditions(requirements: readonly Requirement[]): LabelCondition[] {
  return requirements.map((requirement): LabelCondition => {
    const path = [requirement.key]
    const absent: LabelCondition = { labels: { path, equals: Prisma.DbNull } }
    switch (requirement.kind) {
      case 'exists':
        return { NOT: [absent] }
      case 'absent':
        return absent
      case 'in':
        return { OR: requirement.values.map((value) => ({ labels: { path, equals: value } })) }
      case 'notin':
        return { OR: [absent, { NOT: requirement.values.map((value) => ({ labels: { path, equals: value } })) }] }
    }
  })
}
