import type { Flags } from './command-line.js'

/** Flags that verbs of several groups take. */
export const force = { force: { kind: 'switch', short: 'f', long: 'force', summary: 'without asking' } } as const satisfies Flags

/** The org of the space that is named. */
export const itsOrg = {
  org: { kind: 'text', short: 'o', long: 'org', value: 'ORG', summary: 'its org; default is the targeted one' },
} as const satisfies Flags

export const otherSpace = {
  space: { kind: 'text', short: 's', long: 'space', value: 'SPACE', summary: 'the other space; must be given' },
  ...itsOrg,
} as const satisfies Flags

/** What an HTTP route is known by besides its domain. */
export const hostAndPath = {
  hostname: {
    kind: 'text',
    short: 'n',
    long: 'hostname',
    value: 'HOST',
    summary: 'host of the route; none is the domain itself',
  },
  path: { kind: 'text', long: 'path', value: 'PATH', summary: 'path that the route begins with' },
} as const satisfies Flags
