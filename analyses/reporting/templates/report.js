"use strict";
(function () {
  var number = function (text) {
    var found = text.replace(/\u2212/g, "-").replace(/,/g, "").match(/[-+]?\d*\.?\d+(e[-+]?\d+)?/i);
    return found ? parseFloat(found[0]) : NaN;
  };
  var cell = function (row, column) { return row.cells[column] ? row.cells[column].textContent.trim() : ""; };
  var sort = function (table, column, descending) {
    var body = table.tBodies[0];
    var rows = Array.prototype.slice.call(body.rows);
    var numeric = table.tHead.rows[0].cells[column].classList.contains("n");
    rows.sort(function (a, b) {
      var x = cell(a, column), y = cell(b, column), order;
      if (numeric) {
        x = number(x); y = number(y);
        if (isNaN(x) || isNaN(y)) { return isNaN(x) - isNaN(y); }
        order = x - y;
      } else { order = x.localeCompare(y, undefined, { numeric: true }); }
      return descending ? -order : order;
    });
    rows.forEach(function (row) { body.appendChild(row); });
  };
  var quoted = function (text) {
    var line = text.replace(/\s+/g, " ").replace(/\u2212/g, "-");
    if (/^[=@\t]/.test(line) || /^[-+][^\d.]/.test(line)) { line = "'" + line; }
    return '"' + line.replace(/"/g, '""') + '"';
  };
  var save = function (table) {
    var lines = Array.prototype.map.call(table.rows, function (row) {
      return Array.prototype.map.call(row.cells, function (c) { return quoted(c.innerText || c.textContent); }).join(",");
    });
    var link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(["\ufeff" + lines.join("\r\n")], { type: "text/csv" }));
    link.download = (table.getAttribute("data-name") || "table") + ".csv";
    link.click();
    URL.revokeObjectURL(link.href);
  };
  Array.prototype.forEach.call(document.querySelectorAll("table.sortable"), function (table) {
    Array.prototype.forEach.call(table.tHead.rows[0].cells, function (head, column) {
      var button = document.createElement("button");
      button.type = "button";
      while (head.firstChild) { button.appendChild(head.firstChild); }
      head.appendChild(button);
      button.addEventListener("click", function () {
        var descending = head.getAttribute("aria-sort") === "ascending";
        Array.prototype.forEach.call(table.tHead.rows[0].cells, function (c) { c.removeAttribute("aria-sort"); });
        head.setAttribute("aria-sort", descending ? "descending" : "ascending");
        sort(table, column, descending);
      });
    });
  });
  Array.prototype.forEach.call(document.querySelectorAll("table[data-name]"), function (table) {
    var button = document.createElement("button");
    button.type = "button"; button.className = "csv"; button.textContent = "Save as CSV";
    button.addEventListener("click", function () { save(table); });
    table.parentNode.parentNode.insertBefore(button, table.parentNode.nextSibling);
  });
})();
