import { CfError } from '@bloomery/contracts'
import type { FastifyRequest } from 'fastify'
import { labelConditions, parseLabelSelector, type LabelCondition } from './label-selector.js'

/** The list parameters of one request: everything that is the same for all resources, settled once. */
export interface ListQuery {
  readonly page: number
  readonly perPage: number
  /** Ready for Prisma's `orderBy`; always ends in the guid, so that pages never overlap. */
  readonly orderBy: Record<string, 'asc' | 'desc'>[]
  /** Values of a multi-value filter; undefined where it was not given. An empty value gives [''] and matches only what is empty. */
  readonly values: (name: string) => string[] | undefined
  readonly value: (name: string) => string | undefined
  readonly includes: ReadonlySet<string>
  /** `fields[resource]=a,b` → {resource: {a, b}} */
  readonly fields: ReadonlyMap<string, ReadonlySet<string>>
  /** guids, created_ats, updated_ats and label_selector as Prisma conditions; put into `AND`. */
  readonly common: CommonCondition[]
}
type CommonCondition = LabelCondition & { guid?: { in: string[] }; createdAt?: DateCondition; updatedAt?: DateCondition }
interface DateCondition {
  in?: Date[]
  lt?: Date
  lte?: Date
  gt?: Date
  gte?: Date
}

export interface ListOptions {
  /** Names of the resource's own filters. */
  readonly filters?: readonly string[]
  /** order_by name → column as Prisma spells it; created_at and updated_at are always there. */
  readonly orderBy?: Readonly<Record<string, string>>
  readonly include?: readonly string[]
  /** Allowed `fields[…]` resources. */
  readonly fields?: readonly string[]
  readonly labels?: boolean
  /** What never changes: its time of update is that of its creation. */
  readonly withoutUpdatedAt?: boolean
  /** Prisma's name of the unique column that ends the order; guid unless told. */
  readonly tieBreaker?: string
  readonly defaultOrder?: Record<string, 'asc' | 'desc'>[]
}

const COMMON = ['page', 'per_page', 'order_by', 'guids', 'created_ats', 'updated_ats']
const MAX_PER_PAGE = 5000

/** Reads and checks the query of a list; an unknown parameter is refused, never ignored. */
export function parseListQuery(request: FastifyRequest, options: ListOptions): ListQuery {
  const query = request.query as Record<string, string | string[]>
  const text = (name: string): string | undefined => {
    const raw = query[name]
    return Array.isArray(raw) ? raw.join(',') : raw
  }
  const allowed = [
    ...COMMON,
    ...(options.filters ?? []),
    ...(options.include ? ['include'] : []),
    ...(options.labels === false ? [] : ['label_selector']),
    ...(options.fields ?? []).map((name) => `fields[${name}]`),
  ]
  const unknown = Object.keys(query).filter((name) => !allowed.includes(name.replace(/\[(lt|lte|gt|gte)\]$/, '')))
  if (unknown.length > 0)
    throw bad(
      `Unknown query parameter(s): ${unknown.map((name) => `'${name}'`).join(', ')}. Valid parameters are: ${allowed.map((name) => `'${name}'`).join(', ')}`,
    )

  const values = (name: string): string[] | undefined => {
    const raw = text(name)
    return raw === undefined
      ? undefined
      : raw.split(',').map((value) => (name === 'names' ? value.replaceAll(/%2C/gi, ',') : value))
  }
  const includes = new Set(values('include') ?? [])
  for (const name of includes)
    if (!options.include?.includes(name))
      throw bad(
        `Invalid included resource: '${name}'. Valid included resources are: ${(options.include ?? []).map((each) => `'${each}'`).join(', ')}`,
      )

  const common: CommonCondition[] = []
  const guids = values('guids')
  if (guids) common.push({ guid: { in: guids } })
  common.push(
    ...timestampConditions(query, 'created_ats', 'createdAt'),
    ...timestampConditions(query, 'updated_ats', options.withoutUpdatedAt ? 'createdAt' : 'updatedAt'),
  )
  const selector = text('label_selector')
  if (selector) common.push(...labelConditions(parseLabelSelector(selector)))

  return {
    page: positive('page', text('page'), 1, Number.MAX_SAFE_INTEGER),
    perPage: positive('per_page', text('per_page'), 50, MAX_PER_PAGE),
    orderBy: parseOrder(text('order_by'), options),
    values,
    value: (name) => text(name),
    includes,
    fields: new Map(
      (options.fields ?? []).flatMap((name) =>
        text(`fields[${name}]`) === undefined ? [] : [[name, new Set(values(`fields[${name}]`))] as const],
      ),
    ),
    common,
  }
}

const bad = (detail: string): CfError => new CfError('BadQueryParameter', `The query parameter is invalid: ${detail}`)

function positive(name: string, text: string | undefined, fallback: number, max: number): number {
  if (text === undefined) return fallback
  if (!/^\d+$/.test(text) || Number(text) < 1) throw bad(`${name === 'page' ? 'Page' : 'Per page'} must be greater than 0`)
  if (Number(text) > max) throw bad(`Per page must be between 1 and ${max}`)
  return Number(text)
}

function parseOrder(text: string | undefined, options: ListOptions): Record<string, 'asc' | 'desc'>[] {
  const tie = options.tieBreaker ?? 'guid'
  if (text === undefined) return [...(options.defaultOrder ?? [{ createdAt: 'asc' as const }]), { [tie]: 'asc' }]
  const name = text.replace(/^[-+]/, '')
  const columns: Record<string, string> = {
    created_at: 'createdAt',
    updated_at: options.withoutUpdatedAt ? 'createdAt' : 'updatedAt',
    ...options.orderBy,
  }
  const column = columns[name]
  if (!column)
    throw bad(
      `Order by can only be: ${Object.keys(columns)
        .map((each) => `'${each}'`)
        .join(', ')}`,
    )
  const direction = text.startsWith('-') ? 'desc' : 'asc'
  return [{ [column]: direction }, { [tie]: direction }]
}

function timestampConditions(
  query: Record<string, string | string[]>,
  name: string,
  column: 'createdAt' | 'updatedAt',
): CommonCondition[] {
  return Object.entries(query).flatMap(([key, raw]) => {
    const operator = key === name ? 'in' : new RegExp(`^${name}\\[(lt|lte|gt|gte)\\]$`).exec(key)?.[1]
    if (!operator) return []
    const dates = String(raw)
      .split(',')
      .map((value) => new Date(value))
    if (dates.some((date) => Number.isNaN(date.getTime())))
      throw bad(`${name} has an invalid timestamp format; use e.g. 2026-01-31T12:00:00Z`)
    return [{ [column]: operator === 'in' ? { in: dates } : { [operator]: dates[0] } }]
  })
}

export interface Page<Row> {
  readonly rows: readonly Row[]
  readonly total: number
}

/** Reads one page and its total at once: two queries however long the page is. */
export async function readPage<Row>(
  query: ListQuery,
  find: (page: { skip: number; take: number }) => Promise<Row[]>,
  count: () => Promise<number>,
): Promise<Page<Row>> {
  const [found, total] = await Promise.all([find({ skip: (query.page - 1) * query.perPage, take: query.perPage }), count()])
  return { rows: found, total }
}

/** CAPI's list envelope; links repeat every parameter of the request. */
export function presentList<Row, View>(
  request: FastifyRequest,
  query: ListQuery,
  page: Page<Row>,
  present: (row: Row) => View,
  included?: Record<string, readonly unknown[]>,
) {
  const pages = Math.max(1, Math.ceil(page.total / query.perPage))
  const link = (number: number) => {
    const url = new URL(request.url, request.baseUrl)
    url.searchParams.set('page', String(number))
    url.searchParams.set('per_page', String(query.perPage))
    return { href: url.href }
  }
  return {
    pagination: {
      total_results: page.total,
      total_pages: pages,
      first: link(1),
      last: link(pages),
      next: query.page < pages ? link(query.page + 1) : null,
      previous: query.page > 1 ? link(query.page - 1) : null,
    },
    resources: page.rows.map(present),
    ...(included && Object.keys(included).length > 0 ? { included } : {}),
  }
}

/** The same envelope for what is never paged (stats, sidecars). */
export const presentAll = <View>(resources: readonly View[]) => ({
  pagination: { total_results: resources.length, total_pages: 1, next: null, previous: null },
  resources,
})
