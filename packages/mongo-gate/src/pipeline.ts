import { BSON_TYPE, elementsOf, stringOf, type BsonElement } from './bson-structure.js'
import { isOwnCollection } from './namespaces.js'

/** Why a pipeline is refused, in MongoDB's own codes. */
export interface PipelineRefusal {
  readonly code: 13 | 9 | 40323 | 40324
  readonly message: string
}

/** Stages that the server behind knows and that stay in their database by themselves. */
const LOCAL_STAGES = new Set(
  [
    ['$addFields', '$bucket', '$count', '$group', '$indexStats', '$limit', '$match', '$project', '$redact', '$replaceRoot'],
    ['$sample', '$skip', '$sort', '$sortByCount', '$unset', '$unwind'],
  ].flat(),
)
/** Programs that would run in the server. */
const CODE = new Set(['$where', '$function', '$accumulator'])

/**
 * Looks through an aggregation pipeline (a checked array at `at`), the pipelines inside it included, for stages that reach another
 * database. What is not known to stay at home is refused.
 */
export function findRefusal(bytes: Buffer, pipeline: BsonElement, database: string): PipelineRefusal | undefined {
  if (pipeline.type !== BSON_TYPE.array) return { code: 9, message: "'pipeline' has to be an array" }
  for (const stage of elementsOf(bytes, pipeline.at)) {
    if (stage.type !== BSON_TYPE.document) return { code: 9, message: 'each stage of a pipeline has to be a document' }
    const [operation, ...more] = elementsOf(bytes, stage.at)
    if (!operation || more.length > 0)
      return { code: 40323, message: 'a pipeline stage specification object must contain exactly one field' }
    const refusal = refuseStage(bytes, operation, database) ?? refuseCode(bytes, operation)
    if (refusal) return refusal
  }
  return undefined
}

function refuseStage(bytes: Buffer, operation: BsonElement, database: string): PipelineRefusal | undefined {
  if (LOCAL_STAGES.has(operation.name)) return undefined
  const foreign = (): PipelineRefusal => ({
    code: 13,
    message: `not authorized: ${operation.name} may use collections of the database '${database}' only`,
  })
  const ownName = (element: BsonElement | undefined): boolean => isOwnCollection(stringOf(bytes, element))
  switch (operation.name) {
    case '$lookup':
    case '$graphLookup': {
      const given = fieldsOf(bytes, operation)
      if (!given || !ownName(given.get('from'))) return foreign()
      const inner = given.get('pipeline')
      return inner && findRefusal(bytes, inner, database)
    }
    case '$facet': {
      for (const inner of fieldsOf(bytes, operation)?.values() ?? []) {
        const refusal = findRefusal(bytes, inner, database)
        if (refusal) return refusal
      }
      return undefined
    }
    case '$out':
      return ownName(operation) ? undefined : foreign()
    case '$merge': {
      const given = fieldsOf(bytes, operation)
      const into = given ? given.get('into') : operation
      if (!into || !isOwnTarget(bytes, into, database)) return foreign()
      const inner = given?.get('whenMatched')
      return inner?.type === BSON_TYPE.array ? findRefusal(bytes, inner, database) : undefined
    }
    default:
      return {
        code: 40324,
        message: `Unrecognized pipeline stage name: '${operation.name}'; this development server does not have it`,
      }
  }
}

function isOwnTarget(bytes: Buffer, into: BsonElement, database: string): boolean {
  if (into.type === BSON_TYPE.string) return isOwnCollection(stringOf(bytes, into))
  const given = fieldsOf(bytes, into)
  return stringOf(bytes, given?.get('db')) === database && isOwnCollection(stringOf(bytes, given?.get('coll')))
}

function refuseCode(bytes: Buffer, element: BsonElement): PipelineRefusal | undefined {
  if (CODE.has(element.name)) return { code: 13, message: `${element.name} runs code in the server, which is not allowed` }
  if (element.type !== BSON_TYPE.document && element.type !== BSON_TYPE.array) return undefined
  for (const inner of elementsOf(bytes, element.at)) {
    const refusal = refuseCode(bytes, inner)
    if (refusal) return refusal
  }
  return undefined
}

const fieldsOf = (bytes: Buffer, element: BsonElement): ReadonlyMap<string, BsonElement> | undefined =>
  element.type === BSON_TYPE.document ? new Map(elementsOf(bytes, element.at).map((each) => [each.name, each])) : undefined
