import { RawHeaders } from '../proxy/raw-headers.js'
import type { RouterAnswer } from '../proxy/router-answer.js'
import { parseErrorTemplate, type ErrorTemplate } from './error-template.js'

/** Gives the router's own errors another look; what is none, or has no body, stays as it is. */
export type ErrorPage = (answer: RouterAnswer) => RouterAnswer

/** As they are: a line of text. */
export const plainPage: ErrorPage = (answer) => answer

/** A page by the operator's template. Status and all fields but those of the body are the same as without it. */
const templatePage =
  (template: ErrorTemplate): ErrorPage =>
  (answer) => {
    const { status, reason, message } = answer
    if (message === undefined) return answer
    const headers = RawHeaders.from(answer.headers)
    const body = template({ status, statusText: reason, message, header: (name) => headers.get(name.toLowerCase()) ?? '' })
    headers.set('Content-Type', 'text/html; charset=utf-8')
    headers.set('Content-Length', String(Buffer.byteLength(body)))
    return { ...answer, headers: headers.toFlat(), body }
  }

/** The page that a template gives; without one what the router says is a line of text. Throws TemplateFault. */
export const errorPageOf = (template: string | undefined): ErrorPage =>
  template === undefined ? plainPage : templatePage(parseErrorTemplate(template))
