/**
 * A room: two people, each on a page of their own, hear each other in their own language.
 *
 * @typedef {import("./pointsman.js").Session} Session
 * @typedef {import("./pointsman.js").RoomMember} RoomMember
 */

import { nameOf } from "./languages.js";

const LETTERS = "abcdefghjkmnpqrstuvwxyz23456789";

/** A name that nobody guesses. */
function newName() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return [...bytes].map((byte) => LETTERS[byte % LETTERS.length]).join("");
}

/** The part of the page that is about the room; `others` are who else is in it. */
export class Room {
  name = "";
  /** @type {RoomMember[]} */
  others = [];
  /** The service has begun anew, and what is said waits for who is not back yet. */
  #isAwaiting = false;
  #session;
  #languages;
  #part;

  /**
   * @param {Session} session
   * @param {import("./languages.js").Languages} languages
   * @param {{room: HTMLElement, invite: HTMLElement, leave: HTMLElement, copy: HTMLElement,
   *   link: HTMLInputElement, members: HTMLElement}} part
   */
  constructor(session, languages, part) {
    this.#session = session;
    this.#languages = languages;
    this.#part = part;
    part.invite.addEventListener("click", () => this.enter(newName()));
    part.leave.addEventListener("click", () => this.#leave());
    part.copy.addEventListener("click", () => void this.#copy());
    languages.addEventListener("change", () => this.#said());
    session.addEventListener("room", (event) => this.#told(/** @type {CustomEvent} */ (event).detail));
  }

  /** @param {string} name */
  enter(name) {
    this.name = name;
    this.#lang = "";
    this.#said();
    this.#show([]);
  }

  /** Is what is said here for somebody else? */
  get isShared() {
    return this.others.length > 0 || this.#isAwaiting;
  }

  #lang = "";

  /** Tell the service which language is ours, when it is another one. */
  #said() {
    if (!this.name) return;
    const lang = this.#languages.src;
    if (lang && lang !== this.#lang) this.#session.joinRoom(this.name, { lang, name: nameOf(lang) });
    this.#lang = lang;
    const url = new URL(location.href);
    const theirs = this.others[0]?.lang ?? this.#languages.tgt;
    url.search = String(new URLSearchParams({ room: this.name, src: theirs, tgt: lang }));
    this.#part.link.value = url.href;
  }

  #leave() {
    this.#session.leaveRoom();
    this.name = "";
    this.#show([]);
    this.#part.invite.focus();
  }

  /** @param {{message: {members?: RoomMember[], awaiting?: boolean}, error: Error | null}} told */
  #told({ message, error }) {
    if (error) {
      this.name = "";
      this.#show([]);
      this.#part.members.textContent = `The room cannot be entered: ${error.message}`;
      return;
    }
    if (this.name) this.#show(message.members ?? [], message.awaiting);
  }

  /** @param {RoomMember[]} members @param {boolean} isAwaiting */
  #show(members, isAwaiting = false) {
    this.#isAwaiting = isAwaiting;
    const us = this.#session.welcome?.session_id;
    this.others = members.filter((member) => member.session !== us);
    this.#part.room.hidden = !this.name;
    this.#part.invite.hidden = Boolean(this.name);
    const words = this.others.map(({ lang, connected }) => {
      const away = connected === false ? " (away for the moment)" : "";
      return `The other person speaks ${nameOf(lang ?? "")}${away}.`;
    });
    this.#part.members.textContent = words.join(" ") || this.#alone();
  }

  #alone() {
    if (!this.name) return "";
    if (this.#isAwaiting) return "Nobody else is back yet; what you say waits for them.";
    return "Nobody else is here yet. Send the link to somebody, or open it in another tab.";
  }

  async #copy() {
    this.#part.link.select();
    try {
      await navigator.clipboard.writeText(this.#part.link.value);
      this.#part.copy.textContent = "Copied";
    } catch {
      // Without TLS there is no clipboard; the link is marked, and Ctrl-C copies it.
    }
  }
}
