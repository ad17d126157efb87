/** What somebody writes who uses the package: never run, its types are checked. */

import { PointsmanError, Session, type ErrorInfo, type Result, type Speech } from "pointsman";

export async function say(url: string, sound: Uint8Array): Promise<string> {
  const session = new Session(url, { src_lang: "en", tgt_lang: "es", hears: "en" });
  session.addEventListener("state", () => console.log(session.state));
  const { session_id, resumed = false } = await session.ready();
  const speech: Speech = session.speak({ tgt_langs: ["es", "fr"], content_type: "audio/wav", partials: true });
  speech.push(sound);
  speech.end();
  session.joinRoom("kitchen", { lang: "en" });
  try {
    const result: Result = await session.say("good morning", { services: ["nmt"] });
    return `${session_id} ${resumed} ${result.message.node_id ?? ""} ${result.text()}`;
  } catch (error) {
    if (!(error instanceof PointsmanError)) throw error;
    const counts: Record<string, number> = error.breakdown?.counts ?? {};
    const info: ErrorInfo = { code: error.code, hint: error.hint };
    return JSON.stringify([info, counts]);
  } finally {
    session.close();
  }
}

// @ts-expect-error: an order that there is not
new Session("ws://127.0.0.1:7400/session", { order: "sometimes" });
